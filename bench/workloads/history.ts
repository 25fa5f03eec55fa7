/** Eight readers page through a conversation of 10,000 messages over HTTP, 50 at a time, at random places. */
import { Histogram } from '../load/histogram.ts'
import { PageReader } from '../load/pages.ts'
import { sleep } from '../machine.ts'
import type { Target } from '../targets/target.ts'
import { range } from '../targets/target.ts'
import { below, coresOf, rounded, rssOf, spending, type Workload } from './workload.ts'

const READERS = 8
const PAGE = 50
const MESSAGES = 10_000

interface Count {
  pages: number
  bytes: number
  wrong: number
  times: Histogram
}

export const history: Workload = {
  says: 'pages of 50 from a conversation of 10,000, 8 readers on kept-alive connections, at random places',
  reference: false,
  scene: () => ({ people: 2, stored: { pairs: 1, messages: MESSAGES } }),
  async run(target, { seconds, warmUpMs }) {
    const count: Count = { pages: 0, bytes: 0, wrong: 0, times: new Histogram() }
    const readers = range(READERS).map(() => new PageReader(target.httpPort as number))
    let running = true
    const reading = readers.map(async (reader, i) => {
      while (running) await readOne(target, reader, i % 2, count)
    })
    // A reader that fails ends the run at once, not when the readers are awaited.
    const failed = Promise.all(reading)
    await Promise.race([failed, sleep(warmUpMs)])
    Object.assign(count, { pages: 0, bytes: 0, times: new Histogram() })
    const spent = await spending(target, () => Promise.race([failed, sleep(seconds * 1_000)]))
    const { pages, bytes, times } = count
    running = false
    await failed
    for (const reader of readers) reader.close()
    const line = {
      pages_per_s: rounded(pages / spent.seconds),
      page_p50_ms: rounded(times.quantileMs(0.5)),
      page_p99_ms: rounded(times.quantileMs(0.99)),
      page_kib: rounded(bytes / pages / 1_024),
      server_cpu_us_per_page: rounded((spent.serverMs * 1_000) / pages),
      generator_cpu_us_per_page: rounded((spent.generatorMs * 1_000) / pages),
      ...coresOf(spent),
      ...below(spent, pages, 'page'),
      rss_mib: rounded(rssOf(target) / 1_024),
      readers_count: READERS,
      measured_s: rounded(spent.seconds),
    }
    return { line, verdict: { wrong: count.wrong }, stretch: spent.stretch }
  },
}

/** Asks for the page below a place, and looks whether its first and last entry are the right ones. */
async function readOne(target: Target, reader: PageReader, person: number, count: Count): Promise<void> {
  const before = PAGE + 1 + Math.floor(Math.random() * (MESSAGES - PAGE))
  const { password = '' } = target.login(person)
  const conversation = `u:${target.login(0).username}:${target.login(1).username}`
  const startedAt = performance.now()
  const path = `/v1/conversations/${conversation}/messages?before=${before}&limit=${PAGE}`
  const body = await reader.get(path, password)
  count.times.add(performance.now() - startedAt)
  count.pages++
  count.bytes += body.length
  const has = (seq: number) => body.includes(`"seq":${seq},`)
  if (!has(before - 1) || !has(before - PAGE) || has(before) || has(before - PAGE - 1)) count.wrong++
  // The whole of a page is looked at now and then; doing it every time would cost more than the server.
  if (count.pages % 500 === 1 && !isPage(body, before)) count.wrong++
}

function isPage(body: Buffer, before: number): boolean {
  const { items } = JSON.parse(body.toString()) as { items: { seq: number }[] }
  return items.length === PAGE && items.every(({ seq }, i) => seq === before - PAGE + i)
}
