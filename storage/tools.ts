/** What tools do with the storage of a cluster. A server alone does without the driver. */
import type { Archive, Restoration } from './archive.ts'
import type { CassandraNeeds } from './cassandra/open.ts'
import type { Survey } from './cassandra/survey.ts'
import type { RedisAccess } from './redis/open.ts'
import type { RedisSurvey } from './redis/survey.ts'
import type { Word } from './redis/word.ts'

export type { KeyspaceSurvey, Survey } from './cassandra/survey.ts'
export type { Word } from './redis/word.ts'

/** Long work that would begin again waits longer for an answer than people do. */
const TOOL = { observer: {}, answerMs: 30_000 }

export type ClusterNeeds = Omit<CassandraNeeds, 'observer' | 'bus'>

/**
 * Everything that a keyspace holds, for `use` alone. While servers write there it is of no single moment: each conversation,
 * and each record, is as it was when it was come to. @throws CannotOpen: there is no keyspace, or none of ours
 */
export async function withClusterArchive<T>(needs: ClusterNeeds, use: (archive: Archive) => Promise<T>): Promise<T> {
  const { withArchive } = await import('./cassandra/tools.ts')
  return withArchive({ ...needs, ...TOOL }, use)
}

/** Begins to fill an empty keyspace, or goes on with it. @throws CannotOpen: it has data */
export async function openClusterRestoration(needs: ClusterNeeds): Promise<Restoration> {
  const { openRestoration } = await import('./cassandra/tools.ts')
  return openRestoration({ ...needs, ...TOOL })
}

/** Looks at Cassandra, and changes nothing. @throws CannotOpen: no node answers, or it refuses us */
export async function surveyCassandra(needs: ClusterNeeds): Promise<Survey> {
  const { survey } = await import('./cassandra/survey.ts')
  return survey({ ...needs, observer: {} })
}

/** Looks at Redis, and changes nothing. @throws Error, one sentence without secrets */
export async function surveyRedis(access: RedisAccess): Promise<RedisSurvey> {
  const { surveyRedis } = await import('./redis/survey.ts')
  return surveyRedis(access)
}

/** Tells every node that listens, without being one. @throws Error, one sentence without secrets */
export async function sayOnBus(access: RedisAccess, words: readonly Word[]): Promise<void> {
  const { sayOnce } = await import('./redis/word.ts')
  return sayOnce(access, words)
}
