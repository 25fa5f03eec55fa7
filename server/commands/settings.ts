/** The settings of the server, as commands that work on its data need them. */
import { resolve } from 'node:path'
import { readConfig } from '../config.ts'
import { CannotDo } from './trouble.ts'

/** @throws CannotDo: nothing is on a disk · ConfigError */
export function onDisk(): { directory: string } {
  const config = readConfig()
  if (config.storage !== 'level') throw new CannotDo(`IM_STORAGE=${config.storage} keeps nothing on this disk.`)
  return { directory: resolve(config.dataDirectory) }
}
