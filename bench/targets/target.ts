/** What is measured: a running server, the people in it, and how they are spoken to. */
import type { Version } from '../wire/packets.ts'

/** People are numbered from 0; 2k and 2k+1 are a pair. */
export interface Scene {
  people: number
  /** Members of each group, the first of whom owns it. */
  groups?: readonly (readonly number[])[]
  /** Messages stored beforehand, evenly over that many pairs. */
  stored?: { pairs: number; messages: number }
}

/** One sender in one conversation, and everybody who gets what is sent (the sender too). */
export interface Lane {
  from: number
  to: { person: number } | { group: number }
  audience: readonly number[]
}

export interface Login {
  clientId: string
  username?: string
  password?: string
}

export interface Target {
  readonly name: 'im-server' | 'mosquitto' | 'cluster'
  /** Of each server. */
  readonly pids: readonly number[]
  /** Where a person connects to. */
  mqttPort(person: number): number
  readonly httpPort?: number
  readonly startedMs: number
  login(person: number): Login
  /** What a person subscribes to, to get everything. */
  filters(person: number): string[]
  /** Where a lane is published to. */
  topic(lane: Lane): string
  /** Prometheus text, where the server has it. */
  metrics?(): Promise<string>
  /** What the servers stand on: counts that only grow, by name with their unit. */
  counts?(): Promise<Counts>
  /** Memory that Redis uses for what is in it. */
  redisBytes?(): Promise<number>
  stop(): Promise<void>
}

export type Counts = Record<string, number>

export interface Options {
  /** Measured time of a workload. */
  seconds: number
  /** Time before that, in which caches fill and code is compiled. */
  warmUpMs: number
  /** Messages a second of "paced". */
  rate: number
  /** People in each conversation of "paced". */
  members: number
  /** Let the server's processor be profiled. */
  profile: boolean
  /** Drafts carry a clientMessageId. */
  ids: boolean
  textBytes: number
  version: Version
  /** Stored messages of the workload "start". */
  stored: number
  /** Connections of the workload "idle". */
  idle: number
  /** Of each of them: groups that nobody else is in, as in a large cluster the others are with other servers. */
  conversations: number
}

export const pairOf = (person: number): number => person >> 1
export const partnerOf = (person: number): number => person ^ 1

/** Pairs are spread over servers so that both are with the same one as often as chance would have it. */
export const serverOf = (person: number, servers: number): number =>
  (person % 2 === 0 ? pairOf(person) : Math.floor(pairOf(person) / servers)) % servers

/** The sender of every pair writes to the other. */
export const pairLanes = (pairs: number): Lane[] =>
  Array.from({ length: pairs }, (_, k) => ({ from: 2 * k, to: { person: 2 * k + 1 }, audience: [2 * k, 2 * k + 1] }))

/** Groups of so many, one sender in each. */
export const groupLanes = (groups: readonly (readonly number[])[]): Lane[] =>
  groups.map((audience, group) => ({ from: audience[0] as number, to: { group }, audience }))

export const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i)
