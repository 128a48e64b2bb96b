local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
local t = {}
for i = 1, 300000 do t[i] = (i * 7919) % 300007 end
table.sort(t)
local words = {}
for i = 1, 100000 do local w = "w" .. (i * 31 % 997); words[w] = (words[w] or 0) + 1 end
local s = 0
for i = 1, 3000000 do s = (s * 31 + i) % 1000003 end
local parts = {}
for i = 1, 20000 do parts[#parts + 1] = string.format("%d:%s", i, ("x"):rep(i % 7)) end
local text = table.concat(parts, ",")
local n = 0
for _ in text:gmatch("%d+:xx") do n = n + 1 end
print(fib(27), t[1000], words.w5, s, n, #text)
