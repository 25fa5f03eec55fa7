/** Copies of the compiled code, each with one fault planted in its source. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { serialize } from 'node:v8'
import { image } from '../simulation/image.ts'
import type { Hunted } from './hunt.ts'

export interface Patch {
  /** Source below the root of the repository. */
  file: string
  /** Stands there exactly once. */
  find: string
  put: string
}

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../..', import.meta.url))
/** What a simulated run is made of. */
const PARTS = ['protocol', 'core', 'storage', 'broker', 'bench/wire', 'test/support', 'test/checker', 'test/simulation']
const IMAGE = 'image'
/** A hunt that is not over by then hangs. */
const HUNT_MS = 900_000

/** The source with the fault in it. @throws Error: the code has changed, and the patch must follow it. */
export function planted({ file, find, put }: Patch, source = readFileSync(join(root, file), 'utf8')): string {
  const places = source.split(find).length - 1
  if (places !== 1) throw new Error(`${file} holds this ${places} times instead of once:\n${find}`)
  return source.replace(find, () => put)
}

export class Copies {
  readonly #at: string
  readonly #names: readonly string[]
  private constructor(at: string, names: readonly string[]) {
    this.#at = at
    this.#names = names
  }

  /** Transpiles what is patched, all in one go; a copy is there only while it is hunted in. */
  static async of(patches: readonly (Patch | undefined)[]): Promise<Copies> {
    const at = await mkdtemp(join(tmpdir(), 'mutants-'))
    symlinkSync(join(root, 'node_modules'), join(at, 'node_modules'))
    writeFileSync(join(at, 'package.json'), '{ "type": "module" }')
    writeFileSync(join(at, IMAGE), serialize(await image()))
    const names = patches.map((_patch, nth) => `copy-${nth}`)
    const files = patches.flatMap((patch, nth) => {
      if (!patch) return []
      const file = join('source', `copy-${nth}`, patch.file)
      mkdirSync(dirname(join(at, file)), { recursive: true })
      writeFileSync(join(at, file), planted(patch))
      return [file]
    })
    const compilerOptions = {
      noCheck: true,
      noResolve: true,
      types: [],
      declaration: false,
      sourceMap: false,
      incremental: false,
      tsBuildInfoFile: null,
      rootDir: 'source',
      outDir: '.',
    }
    const config = { extends: join(root, 'tsconfig.json'), compilerOptions, files, include: [] }
    writeFileSync(join(at, 'tsconfig.json'), JSON.stringify(config))
    if (files.length > 0) await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', at])
    return new Copies(at, names)
  }

  /** Plays seeds over that copy until the verdict is told. */
  async hunt(nth: number, from: number, seeds: number, verdict?: string): Promise<Hunted> {
    const copy = join(this.#at, this.#names[nth] as string)
    const isCode = (name: string) => !/\.(map|ts)$/.test(name)
    for (const part of [...PARTS, 'test/mutants'])
      cpSync(join(root, 'dist', part), join(copy, part), { recursive: true, force: false, filter: isCode })
    const wanted = [join(this.#at, IMAGE), String(from), String(seeds), ...(verdict ? [verdict] : [])]
    const { stdout } = await run(process.execPath, [join(copy, 'test/mutants/hunt.js'), ...wanted], {
      timeout: HUNT_MS,
      maxBuffer: 64 * 1024 * 1024,
    })
    rmSync(copy, { recursive: true })
    return JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as Hunted
  }

  remove(): void {
    rmSync(this.#at, { recursive: true, force: true })
  }
}
