/** Things: devices that report alerts and values, and take commands. */
import * as z from 'zod'
import { ClientMessageId, DeviceId, GroupId } from '../ids.ts'
import { PlainObject } from '../json.ts'
import { Entry, Severity, Text } from '../messages.ts'
import { cursor, Device, DisplayName, limit, nothing, pageOf, path } from './shapes.ts'

const ext = PlainObject({ maxBytes: 4096 }).optional()
const Data = PlainObject({ maxBytes: 64 * 1024 }).optional()
/** A telemetry value, as sent, in bytes. */
export const MAX_TELEMETRY_BYTES = 64 * 1024
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
/** Text, or the base64 of any bytes. */
const Value = z
  .strictObject({
    value: z.string(),
    encoding: z.literal('base64').optional(),
  })
  .refine(({ value, encoding }) => !encoding || base64.test(value), 'The value is not base64.')
  .refine(({ value, encoding }) => encoding || value.isWellFormed(), 'A value must be well-formed Unicode.')
  .refine(
    ({ value, encoding }) =>
      (encoding ? (value.length / 4) * 3 - (value.match(/=/g)?.length ?? 0) : new TextEncoder().encode(value).length) <=
      MAX_TELEMETRY_BYTES,
    { error: `A value is at most ${MAX_TELEMETRY_BYTES} bytes.`, params: { code: 'too-large' } },
  )

// biome-ignore format: a table, a row a line
export const devices = {
  createDevice: {
    says: 'Registers a device; its key is shown once. The members of its conversation are its owner and the owning group.',
    may: 'user', rest: 'POST /devices', status: 201,
    body: z.strictObject({ device: DeviceId, name: DisplayName.optional(), group: GroupId.optional() }),
    output: Device.extend({ key: z.string() }),
    faults: ['id-taken', 'no-such-group', 'not-a-member', 'not-allowed', 'log-unavailable'],
  },
  listDevices: { says: "Devices whose conversation the caller is in.", may: 'user', rest: 'GET /devices', query: { limit: limit(500, 100), cursor }, output: pageOf(Device), faults: [] },
  getDevice: { says: 'One device.', may: 'caller', rest: 'GET /devices/:device', path: path.device, output: Device, faults: ['no-such-device', 'not-a-member'] },
  updateDevice: {
    says: 'Renames a device, or gives it a new key (owner; the old key stops at once).',
    may: 'user', rest: 'PATCH /devices/:device',
    path: path.device, body: z.strictObject({ name: DisplayName.optional(), renewKey: z.literal(true).optional() }),
    output: Device.extend({ key: z.string().optional() }),
    faults: ['no-such-device', 'not-a-member', 'not-allowed', 'log-unavailable'],
  },
  deleteDevice: { says: 'Removes a device: its key stops at once, its history stays.', may: 'user', rest: 'DELETE /devices/:device', status: 204, path: path.device, output: nothing, faults: ['no-such-device', 'not-a-member', 'not-allowed', 'log-unavailable'] },
  sendAlert: {
    says: 'An alert of the device itself: an entry of its conversation that all members get.',
    may: 'device', rest: 'POST /devices/:device/alerts', status: 201,
    path: path.device,
    body: z.strictObject({ severity: Severity.default('warning'), text: Text, clientMessageId: ClientMessageId.optional(), ext }),
    output: Entry, faults: ['not-allowed', 'client-message-id-reused', 'log-unavailable', 'storage-full'],
  },
  sendTelemetry: {
    says: "The device's newest value: at most 64 KiB, kept as sent and retained on `last`.",
    may: 'device', rest: 'PUT /devices/:device/telemetry', status: 204,
    path: path.device, body: Value, output: nothing, faults: ['not-allowed', 'too-large', 'log-unavailable'],
  },
  sendCommand: {
    says: 'A command to the device: an entry of its conversation, sent on its topic `command`.',
    may: 'user', rest: 'POST /devices/:device/commands', status: 201,
    path: path.device, body: z.strictObject({ command: z.string().min(1).max(128), data: Data, clientMessageId: ClientMessageId.optional() }),
    output: Entry, faults: ['no-such-device', 'not-a-member', 'client-message-id-reused', 'log-unavailable', 'storage-full'],
  },
  sendResult: {
    says: 'The answer of the device to a command.',
    may: 'device', rest: 'POST /devices/:device/results', status: 201,
    path: path.device, body: z.strictObject({ replyTo: z.int().min(1).optional(), text: Text.optional(), data: Data, clientMessageId: ClientMessageId.optional() }),
    output: Entry, faults: ['not-allowed', 'client-message-id-reused', 'log-unavailable', 'storage-full'],
  },
} as const
