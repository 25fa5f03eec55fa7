/** What people and things say: the draft a client sends, and the entry that the log makes of it. */
import * as z from 'zod'
import { ClientMessageId, ConversationId, type EpochMs, GroupId, type Sender, Seq, UserId } from './ids.ts'
import { PlainObject } from './json.ts'

/** A whole draft, in bytes of JSON. */
export const MAX_DRAFT_BYTES = 256 * 1024
/** Any text, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 64 * 1024

const utf8 = new TextEncoder()
const fits = (maxBytes: number) => (text: string) => text.length * 3 <= maxBytes || utf8.encode(text).length <= maxBytes

/** Kept to the letter; a lone surrogate has no UTF-8 and is refused. */
export const Text = z
  .string()
  .min(1)
  .refine(fits(MAX_TEXT_BYTES), { error: 'A text is at most 65,536 bytes of UTF-8.', params: { code: 'too-large' } })
  .refine(text => text.isWellFormed(), 'A text must be well-formed Unicode.')
const Caption = Text.optional()
const Name = z
  .string()
  .min(1)
  .max(256)
  .refine(text => text.isWellFormed(), 'A name must be well-formed Unicode.')

/** Every draft may have these. */
const common = {
  clientMessageId: ClientMessageId.optional(),
  mentions: z
    .array(z.union([UserId, z.literal('all')]))
    .max(100)
    .optional(),
  /** The entry this one answers. */
  replyTo: Seq.optional(),
  /** Life after the first read, 1 s to 24 h. */
  burnAfterMs: z.int().min(1_000).max(86_400_000).optional(),
  /** Epoch milliseconds after which nobody gets it any more. */
  expiresAt: z.int().min(1).optional(),
  /** Free for the app's own use, at most 4 KiB of JSON, stored as it is. */
  ext: PlainObject({ maxBytes: 4096 }).optional(),
}

/** A file's id, or its address. */
const file = {
  file: z.string().min(1).max(2048),
  name: Name.optional(),
  size: z.int().min(0).optional(),
  contentType: z.string().min(1).max(128).optional(),
  text: Caption,
}
const picture = { width: z.int().min(1).max(100_000).optional(), height: z.int().min(1).max(100_000).optional() }
const length = { durationMs: z.int().min(0).optional() }
const of = <T extends string, S extends z.ZodRawShape>(type: T, shape: S) =>
  z.strictObject({ type: z.literal(type), ...shape, ...common })

// Of the types whose fields alone do not keep below it.
const isWithinDraft = (draft: object) => fits(MAX_DRAFT_BYTES)(JSON.stringify(draft))
const DRAFT_TOO_LARGE = { error: 'A draft is at most 262,144 bytes of JSON.', params: { code: 'too-large' } }

/** One message of a forwarded bundle, as it was when forwarded. */
const MergedItem = z.strictObject({
  from: z.string().min(1).max(80),
  sentAt: z.int().min(0),
  type: z.string().min(1).max(32),
  text: Caption,
  file: file.file.optional(),
  name: Name.optional(),
})

export const Severity = z.enum(['info', 'warning', 'critical'])

const Typed = z.discriminatedUnion('type', [
  of('text', { text: Text }),
  of('sticker', { sticker: z.string().min(1).max(256), pack: z.string().min(1).max(256).optional(), text: Caption }),
  of('image', { ...file, ...picture }),
  of('voice', { ...file, ...length }),
  of('video', { ...file, ...picture, ...length }),
  of('file', file),
  of('location', {
    latitude: z.number().min(-90).max(90),
    longitude: z.number().min(-180).max(180),
    name: Name.optional(),
    address: z.string().min(1).max(1024).optional(),
  }),
  of('card', { card: z.strictObject({ user: UserId.optional(), group: GroupId.optional() }), text: Caption }),
  of('merged', { title: Name, items: z.array(MergedItem).min(1).max(100) }).refine(isWithinDraft, DRAFT_TOO_LARGE),
  of('alert', { severity: Severity.default('warning'), text: Text }),
  of('custom', {
    custom: z.string().regex(/^[a-z][a-z0-9.-]{0,63}$/),
    data: PlainObject({ maxBytes: MAX_DRAFT_BYTES }),
    text: Caption,
  }).refine(isWithinDraft, DRAFT_TOO_LARGE),
])

/** What a client sends. A draft without a type is a text. Fields that are not listed are refused by name. */
export const Draft = z.preprocess(
  value =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && !('type' in value)
      ? { ...value, type: 'text' }
      : value,
  Typed,
)
export type Draft = z.output<typeof Draft>
type TypedInput = z.input<typeof Typed>
type TextInput = Extract<TypedInput, { type: 'text' }>
/** A draft as a client writes it: the type may be left out of a text. */
export type DraftInput = TypedInput | (Omit<TextInput, 'type'> & { type?: 'text' })

/** Kinds of entries; more may come, and clients skip those that they do not know. */
export const EntryKind = z.enum(['message', 'recall', 'edit', 'burn', 'members', 'call', 'alert', 'command', 'result'])
export type EntryKind = z.output<typeof EntryKind>

export const MembersAction = z.enum([
  'created',
  'joined',
  'added',
  'left',
  'removed',
  'role',
  'renamed',
  'muted',
  'settings',
  'dismissed',
])
export type MembersAction = z.output<typeof MembersAction>

/** What the log adds to every draft. `n` counts the messages up to and including this entry. */
const stamped = {
  conversation: ConversationId,
  seq: Seq,
  n: z.int().min(0),
  /** ULID. */
  id: z.string(),
  /** A user, `d:{device}`, or `$system`. */
  from: z.string(),
  /** Epoch milliseconds; never goes back within a conversation. */
  sentAt: z.int(),
}

/**
 * An entry, as in the inbox and in history. A message has its draft's fields beside those here. A message that was
 * taken back keeps its place as a tombstone: `"retracted": "recall" | "burn"`, and no body; so does one whose
 * `expiresAt` is past, with `"expired"`. Who repeats a message that retention removed gets it with `"retention"`.
 */
export const Entry = z.looseObject({ kind: EntryKind, ...stamped })
export interface Entry {
  kind: EntryKind
  conversation: ConversationId
  seq: Seq
  n: number
  id: string
  from: Sender
  sentAt: EpochMs
  type?: string
  text?: string
  clientMessageId?: string
  /** On a tombstone: what took the body back. */
  retracted?: 'recall' | 'burn' | 'expired' | 'retention'
  /** On a recall, an edit or a burn: the entry it is about. */
  target?: Seq
  /** On a members entry. */
  action?: MembersAction
  by?: string
  users?: UserId[]
  [field: string]: unknown
}

/** Stands before the first entry after a range that this reader will never get. */
export const Gap = z.object({
  kind: z.literal('gap'),
  conversation: ConversationId,
  from: Seq,
  to: Seq,
  reason: z.enum(['retention', 'not-a-member']),
})
export type Gap = z.output<typeof Gap>
