module example.invalid/small

go 1.21
