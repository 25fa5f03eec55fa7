/** The command line. */
import { parseArgs } from 'node:util'
import type { Options } from './targets/target.ts'

export const USAGE = `npm run bench -- [options]
  --only chat,group     these workloads; all unless given
  --nodes 2             so many servers on one Cassandra and one Redis; a server alone unless given
  --cassandra 1         nodes of Cassandra, 1 to 3, and so many copies of everything
  --cores 0.1           with --nodes: so much of a core for each server (Linux, as root)
  --seconds 8           measured time of a workload
  --warm-up 8           seconds before that; a quarter of them, at most 2, unless given
  --rate 1000           messages a second of "paced"
  --members 2           people in each conversation of "paced"
  --protocol 4          4 for MQTT 3.1.1, 5 for MQTT 5
  --text 200            bytes of a text
  --no-ids              drafts without clientMessageId
  --no-reference        without mosquitto
  --stored 1000000      messages stored before "start"
  --idle 5000           connections of "idle"
  --conversations 0     groups that each of those is in, alone
  --profile             profile the server, and print the functions that took the most time`

export interface CommandLine extends Options {
  only: string[] | undefined
  reference: boolean
  /** Servers of a cluster; 0 for a server alone. */
  nodes: number
  /** Nodes under them. */
  cassandra: 1 | 2 | 3
  /** Of each of them; nothing where they may use all. */
  cores: number | undefined
}

export function readOptions(args: string[]): CommandLine {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string' },
      nodes: { type: 'string', default: '0' },
      cassandra: { type: 'string', default: '1' },
      cores: { type: 'string' },
      rate: { type: 'string', default: '1000' },
      members: { type: 'string', default: '2' },
      'warm-up': { type: 'string' },
      seconds: { type: 'string', default: '8' },
      protocol: { type: 'string', default: '4' },
      text: { type: 'string', default: '200' },
      stored: { type: 'string', default: '1000000' },
      idle: { type: 'string', default: '5000' },
      conversations: { type: 'string', default: '0' },
      'no-ids': { type: 'boolean', default: false },
      'no-reference': { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
    },
  })
  const seconds = whole('seconds', values.seconds, 1, 600)
  const warmUp = values['warm-up']
  return {
    only: values.only?.split(','),
    nodes: whole('nodes', values.nodes, 0, 9),
    cassandra: whole('cassandra', values.cassandra, 1, 3) as 1 | 2 | 3,
    cores: values.cores === undefined ? undefined : Number(values.cores),
    seconds,
    warmUpMs: warmUp === undefined ? Math.min(2_000, seconds * 250) : whole('warm-up', warmUp, 0, 600) * 1_000,
    members: whole('members', values.members, 2, 200),
    rate: whole('rate', values.rate, 1, 100_000),
    version: whole('protocol', values.protocol, 4, 5) as 4 | 5,
    textBytes: whole('text', values.text, 16, 65_536),
    stored: whole('stored', values.stored, 1_000, 100_000_000),
    idle: whole('idle', values.idle, 1, 25_000),
    conversations: whole('conversations', values.conversations, 0, 500),
    ids: !values['no-ids'],
    reference: !values['no-reference'] && values.nodes === '0',
    profile: values.profile,
  }
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < min || value > max)
    throw new Error(`--${name} is a whole number from ${min} to ${max}\n${USAGE}`)
  return value
}
