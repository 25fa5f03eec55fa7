/** What `npm run proof` found, as the manual tells it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { faultRows, faultSection } from './faults.ts'

export interface Outcome {
  claim: string
  command: string
  share: string
  date: string
  commit: string
  passed: boolean
  seconds: number
  figures: Record<string, number | string>
}
export type Outcomes = Partial<Record<string, Outcome>>

const outcomesAt = (root: string): Outcomes => JSON.parse(readFileSync(join(root, 'docs/trust.json'), 'utf8'))

const UNITS: Record<string, string> = { MiB: 'MiB', Ms: 'ms' }

/** `refusedToOpen` → `refused to open`, `journalMiB` → `journal, MiB`. */
function spoken(name: string): string {
  const unit = Object.keys(UNITS).find(unit => name.endsWith(unit))
  const words = unit ? name.slice(0, -unit.length) : name
  const said = words.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
  return unit ? `${said}, ${UNITS[unit]}` : said
}
const grouped = (value: number | string) => (typeof value === 'number' ? value.toLocaleString('en-US') : value)

/** A section for each proof; the parts of one have a page of their own. */
export function trustSections(root: string): string {
  const outcomes = outcomesAt(root)
  const whole = Object.entries(outcomes).filter(([name]) => !name.includes('/'))
  const faults = faultSection(outcomes).join('\n')
  return [...whole.map(([name, outcome]) => section(name, outcome as Outcome)), ...(faults ? [faults] : [])].join('\n')
}

/** The faults of a cluster have a page of their own. */
export const clusterFaults = (root: string): string => faultRows(outcomesAt(root))

function section(name: string, { claim, command, share, date, commit, passed, seconds, figures }: Outcome): string {
  const rows = Object.entries(figures).map(([figure, value]) => `| ${spoken(figure)} | ${grouped(value)} |`)
  return [
    `### ${name}: ${passed ? 'holds' : '**does not hold**'}`,
    '',
    `${claim}.`,
    '',
    '| figure | |',
    '| --- | ---: |',
    ...rows,
    '',
    `\`${command}\` on ${date} at commit ${commit}, ${grouped(seconds)} s. Every commit plays: ${share}.`,
    '',
  ].join('\n')
}

const LANGUAGES = {
  en: {
    simulation: (n: string) => `${n} simulated runs`,
    crashes: (n: string, acknowledged: string) => `${n} × kill -9 with ${acknowledged} acknowledged messages`,
    power: (n: string) => `${n} power cuts`,
    damage: (n: string) => `${n} damaged files`,
    verdict: (n: number) => (n === 0 ? 'nothing acknowledged was lost, doubled or out of order' : `**${n} breaches**`),
    join: (parts: string[], verdict: string) => `Last proof: ${parts.join(', ')}: ${verdict}.`,
  },
  zh: {
    simulation: (n: string) => `${n} 次模拟运行`,
    crashes: (n: string, acknowledged: string) => `${n} 次 kill -9（共 ${acknowledged} 条已确认消息）`,
    power: (n: string) => `${n} 次断电`,
    damage: (n: string) => `${n} 次文件损坏`,
    verdict: (n: number) => (n === 0 ? '已确认的消息无一丢失、重复或乱序' : `**${n} 处违约**`),
    join: (parts: string[], verdict: string) => `最近一次证明：${parts.join('、')}：${verdict}。`,
  },
}

/** One sentence with the figures of the last proofs. */
export function trustHeadline(root: string, language: keyof typeof LANGUAGES): string {
  const { simulation, crashes, power, damage } = outcomesAt(root)
  const words = LANGUAGES[language]
  const of = (outcome: Outcome | undefined, figure: string) => grouped(outcome?.figures[figure] ?? 0)
  const parts = [
    ...(simulation ? [words.simulation(of(simulation, 'seeds'))] : []),
    ...(crashes ? [words.crashes(of(crashes, 'kills'), of(crashes, 'acknowledged'))] : []),
    ...(power ? [words.power(of(power, 'cuts'))] : []),
    ...(damage ? [words.damage(of(damage, 'damages'))] : []),
  ]
  if (parts.length === 0) return ''
  const broken = [simulation, crashes, power, damage].filter(outcome => outcome && !outcome.passed).length
  return words.join(parts, words.verdict(broken))
}
