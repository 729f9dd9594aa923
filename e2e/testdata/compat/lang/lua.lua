io.stdout:setvbuf("line")
local p = io.popen("seq 5"); for l in p:lines() do io.write(l, " ") end print(p:close())
print(os.execute("exit 3")) print(os.execute("kill -9 $$")) print(os.execute())
local w = io.popen("sort -n", "w"); for i = 20, 1, -3 do w:write(i, "\n") end w:close()
local t = {} for i = 1, 200000 do t[i] = (i * 7919) % 100003 end table.sort(t) print(t[1], t[100000], #t)
for i = 1, 20 do assert(os.execute("true")) end
local n = os.tmpname() local f = io.open(n, "w") f:write("temp") f:close() print(io.open(n):read("a")) os.remove(n)
collectgarbage() print(collectgarbage("count") > 0, pcall(error, "caught")) os.exit(9)
