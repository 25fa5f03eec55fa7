/** Every proof: what it claims, what plays all of it, and what of it every commit plays. */
import { CLUSTER_FAULTS } from '../../server/faults.ts'

export interface Proof {
  /** What is broken, and what must hold. */
  claim: string
  /** Plays all of it, from the root of a checkout that is built; of a proof of parts, the part PART of FILE. */
  command: string
  /** What is played and kept by itself, and the file of its test. */
  parts?: Record<string, string>
  /** What `.ci/run` plays for every commit, with seeds from the commit. */
  share: string
}

// biome-ignore format: a table, a row a line
export const PROOFS: Record<string, Proof> = {
  simulation: { claim: 'Simulated runs of the server, from its storage engine to the bytes of MQTT, in which a seed decides the order at every wait, delays, failing disks, kills, power cuts, lost connections and moves between two nodes', command: 'npm run simulate -- --from 1 --seeds 1000000 --keep simulation.json', share: '1,000 seeds' },
  mutants: { claim: 'Faults planted in the code on purpose, which the checker must find', command: 'MUTANTS=43 node --test dist/test/mutants.test.js', share: '22 of the 43, by a seed from the commit' },
  sessions: { claim: 'Runs of 200 commands to sessions (connect, subscribe, publish, acknowledge in any order, drop, take over, leave, kill, restart …) against a model that predicts every packet', command: 'MACHINE_RUNS=10000 node --test dist/test/machine.test.js', share: '200 runs' },
  crashes: { claim: 'kill -9 of the real server under load from stock clients', command: 'CRASHES=1000 ACKNOWLEDGED=1000000 node --test dist/test/crash.test.js', share: '100 kills' },
  power: { claim: 'Power cuts: every write of a running server is recorded, and the disk is put back to what a cut could leave of it', command: 'CUTS=200 POWER_MIB=200 node --test dist/test/power.test.js', share: '40 cuts' },
  damage: { claim: 'Single bit flips and truncations in every kind of file of the data directory: found and named, or harmless', command: 'DAMAGES=1000 node --test dist/test/damage.test.js', share: '150 damages' },
  faults: { claim: 'A cluster of real servers, Redis and Cassandra, of which one part after the other is killed, made silent, cut off or put ahead of time under load', command: "FAULT_USERS=200 FAULT_SEEDS=25 FAULT_CONNECTS=10000 FAULT_KEEP=faults.json node --test --test-name-pattern='^PART:' dist/test/FILE.test.js", parts: CLUSTER_FAULTS, share: 'each fault once, with 20 users' },
  'recovery-1m': { claim: 'kill -9 to ready with 1 million entries', command: 'ENTRIES=1000000 node --test dist/test/recovery.test.js', share: '100,000 entries' },
  'recovery-10m': { claim: 'kill -9 to ready with 10 million entries', command: 'ENTRIES=10000000 node --test dist/test/recovery.test.js', share: '100,000 entries' },
}
