set -e
go vet . ./words
go build -o prog .
./prog one two; echo "prog $?"
go test . ./words | sed 's/\t[0-9.]*s$//;s/(cached)//'
go build -o /dev/null ./broken 2>&1 || echo "broken: $?"
