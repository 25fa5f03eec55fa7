/** What goes over the bus: the sender (8 bytes of chance), the number of its line (4), the message. */

const HEAD = 12

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
