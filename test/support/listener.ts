/** A node in a process of its own: `listener.js <url> <channel> [key]` listens, holds the key, and says when it missed some. */
import { openRedis } from '../../storage/redis/open.ts'

const [url = '', channel = '', key] = process.argv.slice(2)
const node = await openRedis({ url, node: 'child', lifeMs: 900 })
node.bus.onMissed(() => process.stdout.write('missed\n'))
node.bus.subscribe(channel, () => {})
if (key) node.leases.hold(key, '')
await Promise.all([node.bus.settled(), node.leases.settled()])
process.stdout.write('ready\n')
// Its connections keep no process alive that has nothing else to do.
setInterval(() => {}, 60_000)
