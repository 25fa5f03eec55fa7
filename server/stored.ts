/** Tables whose records stand in indexes too: what a check of the whole database compares. */

import { SESSIONS } from '../broker/broker.ts'
import { KEYS } from '../core/accounts/keys.ts'
import { USERS } from '../core/accounts/tables.ts'
import type { Table } from '../core/ports.ts'
import { AGES } from '../core/retention.ts'
import { DEVICE_KEYS, DEVICES, MEMBERS } from '../core/tables.ts'

export const INDEXED = [MEMBERS, USERS, DEVICES, DEVICE_KEYS, KEYS, SESSIONS, AGES] as readonly Table<never>[]
