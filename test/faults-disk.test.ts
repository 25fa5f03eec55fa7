/**
 * What a cluster stands, 3: a server that stores by itself, whose disk is full while people talk. Sends are refused with
 * `storage-full`, what is there can be read, and when there is room again it goes on by itself.
 */

import { SmallDisk, withoutDisk } from './faults/disk.ts'
import { Faults } from './faults/play.ts'
import type { Round } from './faults/round.ts'
import { until } from './support/redis.ts'
import { TestServer } from './support/server.ts'

const DISK_MIB = 128
const LOW_WATER_MIB = 16
const MIB = 1024 * 1024

const faults = new Faults('faults-disk', withoutDisk(), async ends => {
  const disk = new SmallDisk(ends, DISK_MIB)
  const settings = { IM_STORAGE: 'level', IM_DISK_LOW_WATER_MB: `${LOW_WATER_MIB}` }
  const server = TestServer.idle(ends, settings, { dir: disk.data })
  await server.start()
  return { servers: [server], disk }
})

/** Until a send is refused because of it. */
async function refuses(round: Round): Promise<void> {
  let sends = 0
  await until(async () => {
    const { status, code } = await round.post(`${round.group} rest ${performance.now()} ${++sends}`)
    return status === 507 && code === 'storage-full'
  }, 'a send is refused with storage-full')
}

async function reads({ recorder, group, people: [person] }: Round): Promise<void> {
  const read = await person?.api('GET', `/conversations/g:${group}/messages?limit=1`)
  if (read?.status !== 200) recorder.problems.push(`reading while the disk is full is answered ${read?.status}`)
}

faults.play('disk-full', 'the disk of a server is full, to its last byte and to its mark', async (round, { disk }) => {
  await round.some()
  for (const leaving of [0, (LOW_WATER_MIB - 1) * MIB]) {
    round.breaks('the disk is full')
    disk.fill(leaving)
    await refuses(round)
    await reads(round)
    disk.empty()
    round.mended('the disk is full')
    await round.some()
  }
})
