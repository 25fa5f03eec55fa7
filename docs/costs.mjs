/** What docs/sizing.mjs makes its sums of: put in what was measured on machines of your own. */
const PAIRS = '`--nodes 1 --only paced`, with `--rate 10` and `--rate 100`: what each more takes'
const GROUPS = '`--nodes 1 --only paced --rate 5` with `--members 20` against 2, divided by 18'
const DISK = 'the line `disk` of `--nodes 1 --only paced`, less the 200 of its text'
const FOLLOWED = '`--nodes 1 --only idle --idle 100 --conversations 20 --seconds 65`'
const FOLLOWING = `${FOLLOWED} against none, divided by`
const ASSUMED = 'assumed, not measured'

/** Value, of what, and by which options of `npm run bench -- `. */
// biome-ignore format: a table, a row a line
export const COSTS = {
  serverMessage: [1030, 'µs of a server for a message to 2 people, both online', PAIRS],
  cassandraMessage: [3700, 'µs of Cassandra for it, one copy', PAIRS],
  redisMessage: [45, 'µs of Redis for it', PAIRS],
  commandsMessage: [3.9, 'commands to Redis for it', '`--nodes 1 --only paced --rate 100`'],
  clientMessage: [1180, 'bytes between clients and servers for it', '`--nodes 1 --only paced --rate 100`'],
  serverBytesMessage: [7500, 'bytes that servers read and write for it, all', '`--nodes 1 --only paced --rate 100`'],
  serverDelivery: [350, 'µs of a server for a delivery to one more', GROUPS],
  cassandraDelivery: [640, 'µs of Cassandra for it, one copy', GROUPS],
  redisDelivery: [2, 'µs of Redis for it', GROUPS],
  commandsDelivery: [1.9, 'commands to Redis for it', GROUPS],
  clientDelivery: [415, 'bytes between clients and servers for it', GROUPS],
  serverBytesDelivery: [2050, 'bytes that servers read and write for it, all', GROUPS],
  entryBytes: [402, 'bytes of an entry in the table `log`, one copy, not compressed, without its text', DISK],
  copies: [3, 'times the processor time of one copy that three take', ASSUMED],
  heard: [515, 'µs of each other server that has members, for a message', 'assumed: half of `serverMessage`'],
  connectionKib: [18.9, 'KiB of a server for a connection', '`--only idle`, 5,000 connections, no cluster'],
  followedKib: [2, 'KiB of a server for a conversation that it follows', 'assumed: twice the 1.1 of `--only idle --idle 500 --conversations 20`'],
  connectionRedis: [1360, 'bytes of Redis for a connection', '`--nodes 1 --only idle --idle 100`'],
  followedRedis: [240, 'bytes of Redis for a conversation that a server follows', `${FOLLOWING} 20`],
  serverConnect: [5000, 'µs of a server for a CONNECT with its SUBSCRIBE', ASSUMED],
  cassandraConnect: [19_900, 'µs of Cassandra for it, one copy, by who is in 20 conversations', FOLLOWED],
  serverLook: [300, 'µs of a server for a look at a conversation that it follows, two reads', `${FOLLOWING} 33 looks a second`],
  cassandraLook: [790, 'µs of Cassandra for it', `${FOLLOWING} 33 looks a second`],
}
