/** The rules, assembled: every feature gets what it needs here, and no feature knows another. */
import { type AppId, kindOf, UserId } from '../protocol/ids.ts'
import type { Operating } from './accounts/operating.ts'
import { accounts } from './accounts.ts'
import { conversations } from './conversations.ts'
import { Deliveries } from './deliveries.ts'
import { deviceEntries, permit } from './device-entries.ts'
import { deviceMembers } from './device-members.ts'
import { devices } from './devices.ts'
import { followUps } from './follow-ups.ts'
import { gatekeeper } from './gatekeeper.ts'
import { groupChanges } from './group-changes.ts'
import { groupMembers } from './group-members.ts'
import { groups } from './groups.ts'
import { history } from './history.ts'
import { KeptAnswers } from './idempotency/idempotency.ts'
import { members } from './members.ts'
import { messages } from './messages.ts'
import { News } from './news.ts'
import { expecting } from './people.ts'
import type {
  Connections,
  DeliveryMarks,
  Gatekeeper,
  Idempotency,
  Memberships,
  MessageLog,
  Passwords,
  Random,
  Records,
  RetainedValues,
  Scheduler,
  Throttle,
  Tokens,
} from './ports.ts'
import { recall } from './recall.ts'
import { receipts } from './receipts.ts'
import { dated, Retention } from './retention.ts'
import { type Handlers, type Observer, type Run, runner } from './run.ts'
import { sight } from './sight.ts'
import { telemetry } from './telemetry.ts'

export interface CoreSettings {
  registration: 'open' | 'closed'
  recallWindowMs: number
  /** Entries older than this are removed; 0 or absent: none is. */
  retentionMs?: number
  accessTokenMs: number
  refreshTokenMs: number
  /** Personal keys of one account. */
  maxKeys: number
}
export interface CoreNeeds {
  log: MessageLog
  records: Records
  scheduler: Scheduler
  random: Random
  passwords: Passwords
  tokens: Tokens
  throttle: Throttle
  connections: Connections
  observer: Observer
  settings: CoreSettings
}
export interface Core extends AsyncDisposable {
  run: Run
  gatekeeper: Gatekeeper
  idempotency: Idempotency
  memberships: Memberships
  marks: DeliveryMarks
  retained: RetainedValues
  accounts: {
    /** Makes the account `owner`, and its app where there is none. False: it exists. */
    ensureOwner(app: AppId, password: string): Promise<boolean>
    hasOwner(app: AppId): Promise<boolean>
  }
  /** Of whoever runs the server. */
  operator: Operating
}

const OWNER = UserId.parse('owner')

export async function createCore(given: CoreNeeds): Promise<Core> {
  const { scheduler, observer } = given
  const needs = { ...given, log: dated(given.log) }
  const now = () => scheduler.now()
  // First of all followers of the log: who is in is known before an entry is delivered.
  const membership = members(needs)
  const people = accounts({ ...needs, clock: scheduler })
  const all = conversing({ ...needs, now }, membership.members, people.users.exists)
  hintAtChanges(membership.memberships, needs.connections)
  // What a change of a group had still to do when the server last stopped.
  await all.followUps.resume().catch(() => all.followUps.lookAgain())
  const retention = new Retention({ ...needs, retentionMs: needs.settings.retentionMs ?? 0 })

  const handlers: Handlers = { ...people.handlers, ...all.handlers }
  return {
    run: runner({ handlers, gates: { member: membership.gate }, observer, now }),
    gatekeeper: gatekeeper({ ...needs, credentials: people.credentials }),
    idempotency: new KeptAnswers(needs),
    memberships: membership.memberships,
    marks: all.deliveries,
    retained: all.retained,
    operator: people.operator,
    accounts: {
      ensureOwner: people.ensureOwner,
      hasOwner: async app => (await people.users.exists(app, [OWNER]))[0] === true,
    },
    async [Symbol.asyncDispose]() {
      await retention.close()
      all.followUps.close()
      await all.deliveries.close()
      all.news.close()
    },
  }
}

type Membership = ReturnType<typeof members>['members']
type Exists = (app: AppId, users: readonly UserId[]) => Promise<boolean[]>

function conversing(needs: CoreNeeds & { now: () => number }, members: Membership, exists: Exists) {
  const base = { ...needs, members }
  const expect = expecting(async (app, users) => {
    const found = await exists(app, users)
    return users.filter((_, i) => !found[i])
  })
  const things = deviceMembers(base)
  const later = followUps({ ...base, devicesOf: things.devicesOf })
  const changes = groupChanges({ ...base, followUps: later })
  const visibleFrom = sight({ members, group: changes.row })
  const news = new News(base)
  const tell = news.tell.bind(news)
  const values = telemetry({ ...base, permit: (caller, device) => permit(members, caller, device) })
  const handlers = {
    ...groups({ ...base, changes, expect }),
    ...groupMembers({ ...base, changes, expect }),
    ...messages({ ...base, expect }),
    ...history({ ...base, visibleFrom }),
    ...conversations({ ...base, group: changes.row }),
    ...receipts({ ...base, visibleFrom, tell }),
    ...recall({ ...base, visibleFrom, recallWindowMs: needs.settings.recallWindowMs }),
    ...devices(base),
    ...deviceEntries(base),
    sendTelemetry: values.sendTelemetry,
  }
  return { handlers, followUps: later, news, deliveries: new Deliveries({ ...base, tell }), retained: values.retained }
}

/** Tells whoever came or went that a list of theirs is another now. */
function hintAtChanges(memberships: Memberships, connections: Connections): void {
  memberships.follow(({ app, conversation, joined, left }) => {
    const kind = kindOf(conversation)
    const what = kind === 'group' ? 'groups' : kind === 'device' ? 'devices' : 'conversations'
    for (const member of [...joined, ...left])
      if (!member.startsWith('d:')) connections.tell(app, member as UserId, { kind: 'changed', what })
  })
}
