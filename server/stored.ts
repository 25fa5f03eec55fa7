/** Tables as tools must know them, who meet records by the names of theirs. */
import { SESSIONS } from '../broker/broker.ts'
import { KEY_COUNTS, KEYS } from '../core/accounts/keys.ts'
import { PASSWORDS, USERS } from '../core/accounts/tables.ts'
import { ANSWERS } from '../core/idempotency/answers.ts'
import type { Table } from '../core/ports.ts'
import { AGES } from '../core/retention.ts'
import { DELIVERED, DEVICE_KEYS, DEVICES, GROUPS, MARKS, MEMBERS, SENT, TELEMETRY } from '../core/tables.ts'

/** Records stand in indexes too: what a check of the whole database compares. */
export const INDEXED = [MEMBERS, USERS, DEVICES, DEVICE_KEYS, KEYS, SESSIONS, AGES, ANSWERS] as readonly Table<never>[]

/** Besides those, tables whose records of one partition are apart: they lie elsewhere in a cluster. */
const APART = [SENT, MARKS, DELIVERED, GROUPS, TELEMETRY, PASSWORDS, KEY_COUNTS] as readonly Table<never>[]

/** What whoever fills a storage has to know. */
export const PLACED = [...INDEXED, ...APART]
