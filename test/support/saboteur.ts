/** An embedded database whose writes fail when a test says so. */
import { table } from '../../core/ports.ts'
import type { Level } from '../../storage/level/engine.ts'

export const NOTES = table<{ text: string }>('notes', { byText: row => ({ partition: 'all', sort: row.text }) })

/** Makes every write of the database fail while `mode` says so. */
export function saboteur(level: Level) {
  const control = { mode: 'works' as 'works' | 'fails' | 'writes and fails', refused: 0 }
  const batch = level.batch.bind(level) as () => ReturnType<Level['batch']>
  Object.assign(level, {
    batch() {
      const made = batch()
      const write = made.write.bind(made)
      return Object.assign(made, {
        async write(options: object) {
          if (control.mode === 'works') return write(options)
          control.refused++
          if (control.mode === 'writes and fails') await write(options)
          else await made.close()
          throw new Error('the disk is broken')
        },
      })
    },
  })
  return control
}
