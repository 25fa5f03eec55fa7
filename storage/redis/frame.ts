/** What goes over the bus: the sender (8 bytes of chance), the number of its line (4), the message. */

const HEAD = 12
const BEAT_HEAD = 6

export function frameOf(sender: Buffer, line: number, message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEAD + message.byteLength)
  sender.copy(frame)
  frame.writeUInt32BE(line, 8)
  frame.set(message, HEAD)
  return frame
}

export function readFrame(frame: Buffer): { sender: string; line: number; message: Buffer } | undefined {
  if (frame.length < HEAD) return undefined
  return { sender: frame.toString('latin1', 0, 8), line: frame.readUInt32BE(8), message: frame.subarray(HEAD) }
}

/** A heartbeat: its number (6 bytes), the node's name. */
export function beatOf(number: number, node: string): Buffer {
  const beat = Buffer.alloc(BEAT_HEAD + Buffer.byteLength(node))
  beat.writeUIntBE(number, 0, BEAT_HEAD)
  beat.write(node, BEAT_HEAD)
  return beat
}

export function readBeat(message: Buffer): { number: number; node: string } | undefined {
  if (message.length < BEAT_HEAD) return undefined
  return { number: message.readUIntBE(0, BEAT_HEAD), node: message.toString('utf8', BEAT_HEAD) }
}
