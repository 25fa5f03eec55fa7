/** What `npm run proof -- faults` found, as the manual tells it: a row for each fault of a cluster. */
import type { Outcome, Outcomes } from './trust.ts'

/** Every fault, and the file of its test. */
export const CLUSTER_FAULTS: Record<string, string> = {
  'kill-server': 'faults',
  'kill-redis': 'faults',
  'pause-redis': 'faults',
  'cut-bus': 'faults',
  'takeover-storm': 'faults',
  'rolling-restart': 'faults',
  'rolling-upgrade': 'faults-upgrade',
  'dead-wills': 'faults',
  clock: 'faults',
  'kill-cassandra': 'ring',
  'pause-cassandra': 'ring',
  'two-down': 'ring',
  'disk-full': 'faults-disk',
}

const BREACHES = ['lost', 'doubled', 'reordered', 'gap', 'phantom', 'not-a-member', 'undelivered', 'not-linear']
/** Told for every fault, in columns of their own. */
const COMMON = ['rounds', 'users', 'acknowledged', 'received', 'moves', 'silenceMs', 'caughtUpMs', ...BREACHES]
const COUNTS = COMMON.slice(0, 5)
const HEAD = ['fault', ...COUNTS, 'longest silence', 'caught up in', 'breaches', 'holds', 'beside that', 'played']

const spoken = (figure: string) => figure.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`).replace(/ ms$/, '')
const grouped = (value: number | string) => (typeof value === 'number' ? value.toLocaleString('en-US') : value)
const seconds = (ms: number | string | undefined) => `${(Number(ms ?? 0) / 1000).toFixed(1)} s`

const played = (outcomes: Outcomes): Outcome[] =>
  Object.keys(CLUSTER_FAULTS).flatMap(fault => outcomes[`faults/${fault}`] ?? [])
const breachesOf = ({ figures }: Outcome) => BREACHES.reduce((sum, breach) => sum + Number(figures[breach] ?? 0), 0)

export function faultRows(outcomes: Outcomes): string {
  const rows = Object.keys(CLUSTER_FAULTS).map(fault => {
    const outcome = outcomes[`faults/${fault}`]
    return outcome ? rowOf(fault, outcome) : [fault, 'not played yet', ...HEAD.slice(2).map(() => '')]
  })
  return [
    `| ${HEAD.join(' | ')} |`,
    `| --- |${' ---: |'.repeat(HEAD.length - 4)} --- | --- | --- |`,
    ...rows.map(row => `| ${row.join(' | ')} |`),
    '',
    `Breaches are ${BREACHES.join(', ')}, added up. A row is played by \`npm run proof -- faults/NAME\`; rounds and users are what`,
    'FAULT_SEEDS and FAULT_USERS were, 25 and 200 where nothing else is said.',
    '',
  ].join('\n')
}

function rowOf(fault: string, outcome: Outcome): string[] {
  const { figures, passed, date, commit } = outcome
  const counts = COUNTS.map(figure => `${grouped(figures[figure] ?? 0)}`)
  const breaches = breachesOf(outcome) === 0 ? '0' : `**${grouped(breachesOf(outcome))}**`
  const times = [seconds(figures.silenceMs), seconds(figures.caughtUpMs)]
  return [fault, ...counts, ...times, breaches, passed ? 'yes' : '**no**', more(figures), `${date}, ${commit}`]
}

/** What a fault tells beside what all tell. */
const more = (figures: Outcome['figures']) =>
  Object.entries(figures)
    .filter(([figure]) => !COMMON.includes(figure) && figure !== 'seconds')
    .map(([figure, value]) => `${spoken(figure)} ${figure.endsWith('Ms') ? seconds(value) : grouped(value)}`)
    .join(', ')

/** All faults in one section, where every proof is told; nothing while none is played. */
export function faultSection(outcomes: Outcomes): string[] {
  const all = played(outcomes)
  const [first] = all
  if (!first) return []
  const sum = (figure: string) => all.reduce((total, { figures }) => total + Number(figures[figure] ?? 0), 0)
  const faults = Object.keys(CLUSTER_FAULTS).length
  const counts = Object.entries({
    faults: all.length === faults ? faults : `${all.length} of ${faults}`,
    rounds: sum('rounds'),
    acknowledged: sum('acknowledged'),
    received: sum('received'),
    breaches: all.reduce((total, one) => total + breachesOf(one), 0),
  })
  const holds = all.every(({ passed }) => passed)
  return [
    `### faults: ${holds ? 'holds' : '**does not hold**'}`,
    '',
    `${first.claim}. [faults.md](faults.md) has a row for each.`,
    '',
    '| figure | |',
    '| --- | ---: |',
    ...counts.map(([figure, value]) => `| ${figure} | ${grouped(value)} |`),
    '',
    `Every commit plays: ${first.share}.`,
    '',
  ]
}
