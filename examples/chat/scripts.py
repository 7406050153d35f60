"""What Redis does in one go, so that no two processes of the chat come between: scripts in Lua."""

__all__ = ["APPEND", "BEAT", "MEET"]

# Keep a message, unless its sender has sent this uid before. Returns its id, and whether it is new.
# The id is the same in the room's stream as in the feed, which all nodes read.
APPEND = """
local receipt, feed, said = KEYS[1], KEYS[2], KEYS[3]
local room, sender, uid, name, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local feed_length, room_length, room_seconds, receipt_seconds = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

local known = redis.call('GET', receipt)
if known then return {known, 0} end
local fields = {'kind', 'message', 'room', room, 'sender', sender, 'uid', uid, 'name', name, 'text', text}
local id = redis.call('XADD', feed, 'MAXLEN', '~', feed_length, '*', unpack(fields))
redis.call('SET', receipt, id, 'EX', receipt_seconds)
-- Where somebody has deleted the feed, and the clock steps back, its ids may be behind the room's.
redis.pcall('XADD', said, 'MAXLEN', room_length, id, unpack(fields))
redis.call('EXPIRE', said, room_seconds)
return {id, 1}
"""

# Say that a node is alive. Returns whether it was still taken for alive, and the others that are.
BEAT = """
local nodes, node, milliseconds = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local alive = {0}
local known = redis.call('HGETALL', nodes)
for i = 1, #known, 2 do
    if tonumber(known[i + 1]) < now then redis.call('HDEL', nodes, known[i])
    elseif known[i] == node then alive[1] = 1
    else table.insert(alive, known[i]) end
end
redis.call('HSET', nodes, node, string.format('%.0f', now + milliseconds))
return alive
"""

# Make known who is in a room by way of one node, and learn who else is.
#
# The node says whom it has there, and who of these is new: a newcomer takes the place of an earlier
# visit. Everybody of a node that is not alive is gone. Returns the version, the people (their ids,
# each followed by a JSON object), and those of this node who have lost their place: their ids, each
# followed by why.
MEET = """
local people, names, version, nodes, feed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local room, node, newcomer, visitors = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
local limit, room_seconds, feed_length = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local changed = false

local function remove(id, person)
    redis.call('HDEL', people, id)
    if redis.call('HGET', names, person.key) == id then redis.call('HDEL', names, person.key) end
    changed = true
end

local alive = {}
local known = redis.call('HGETALL', nodes)
for i = 1, #known, 2 do
    if tonumber(known[i + 1]) >= now then alive[known[i]] = true end
end
alive[node] = true
local mine = {}
for _, visitor in ipairs(visitors) do mine[visitor.id] = visitor.visit end
local there = redis.call('HGETALL', people)
for i = 1, #there, 2 do
    local id, person = there[i], cjson.decode(there[i + 1])
    local is_gone = person.node == node and person.visit ~= mine[id] and id ~= newcomer
    if is_gone or not alive[person.node] then remove(id, person) end
end

local lost = {}
for _, visitor in ipairs(visitors) do
    local id = visitor.id
    local before = redis.call('HGET', people, id)
    local owner = redis.call('HGET', names, visitor.key)
    if before and cjson.decode(before).visit == visitor.visit then
        -- nothing new
    elseif before and id ~= newcomer then
        table.insert(lost, id); table.insert(lost, 'taken over')
    elseif owner and owner ~= id then
        table.insert(lost, id); table.insert(lost, 'name taken')
    elseif not before and redis.call('HLEN', people) >= limit then
        table.insert(lost, id); table.insert(lost, 'full')
    else
        if before then remove(id, cjson.decode(before)) end
        redis.call('HSET', people, id, cjson.encode(visitor))
        redis.call('HSET', names, visitor.key, id)
        changed = true
    end
end

local latest = tonumber(redis.call('GET', version) or 0)
if changed then
    latest = math.max(latest + 1, now)
    redis.call('XADD', feed, 'MAXLEN', '~', feed_length, '*', 'kind', 'people', 'room', room,
        'version', string.format('%.0f', latest))
    redis.call('SET', version, string.format('%.0f', latest))
end
for _, key in ipairs({people, names, version}) do redis.call('EXPIRE', key, room_seconds) end
return {string.format('%.0f', latest), redis.call('HGETALL', people), lost}
"""
