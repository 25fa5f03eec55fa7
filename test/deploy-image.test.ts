/** The image, without an engine: rules for its Dockerfile, and its steps played from the files that it copies. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { ROOT } from '../server/documents.ts'
import { VERSION } from '../server/version.ts'
import { type Instruction, stagesOf, text } from './support/deploy.ts'

const [arguments_ = [], ...stages] = stagesOf(text('deploy/Dockerfile'))
const last = stages.at(-1) as Instruction[]
const all = stages.flat()
const of = (name: string, where = all) => where.filter(instruction => instruction.name === name)
const only = (name: string): Instruction => {
  const [found, ...more] = of(name, last)
  assert.ok(found && more.length === 0, `the last stage has ${more.length + (found ? 1 : 0)} ${name}`)
  return found
}
/** Of the exec form. */
const listOf = (rest: string): string[] => JSON.parse(rest.slice(rest.indexOf('[')))
const copiesFromHere = of('COPY').filter(({ rest }) => !rest.startsWith('--from='))

test('the base is pinned to a patch version, once for every stage', () => {
  const [base = ''] = of('ARG', arguments_).map(({ rest }) => rest)
  assert.match(base, /^NODE=node:\d+\.\d+\.\d+-\w+-slim$/)
  for (const { words } of of('FROM')) assert.equal(words[0], `\${NODE}`)
  const { engines } = JSON.parse(text('package.json'))
  assert.ok(
    engines.node.startsWith('>=20.19') && base.includes('node:20.'),
    'the version is one that the server runs on',
  )
})

test('wherever it is named, it is named by this version', () => {
  for (const [file, tag] of [
    ['deploy/Dockerfile', /im-server:([\w.]+)/g],
    ['deploy/README.md', /(?:im-server:|IMAGE_TAG` \| `)([\w.]+)/g],
    ['deploy/README.zh-CN.md', /(?:im-server:|IMAGE_TAG` \| `)([\w.]+)/g],
    ['docker-compose.yml', /IMAGE_TAG:-([\w.]+)/g],
    ['deploy/kubernetes/kustomization.yaml', /newTag: (\S+)/g],
  ] as const) {
    const named = [...text(file).matchAll(tag)].map(([, version]) => version)
    assert.ok(named.length > 0, `${file} names it`)
    assert.deepEqual([...new Set(named)], [VERSION], file)
  }
})

test('the last stage runs as a numbered user who is not root, from an exec form, and ends by SIGTERM', () => {
  assert.match(only('USER').rest, /^[1-9]\d*:[1-9]\d*$/)
  assert.deepEqual(listOf(only('ENTRYPOINT').rest), ['node', 'dist/server/main.js'])
  assert.equal(only('STOPSIGNAL').rest, 'SIGTERM')
  const { rest } = only('HEALTHCHECK')
  assert.match(rest, /--interval=\d+s --timeout=\d+s --start-period=\d+s --retries=\d+ CMD \["node"/)
  // After USER nothing is run or copied that would have to be root's.
  assert.deepEqual(
    last.slice(last.indexOf(only('USER')) + 1).map(({ name }) => name),
    ['VOLUME', 'EXPOSE', 'STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT'],
  )
})

test('nothing in it is unpinned, fetched past the lock file, or a secret', () => {
  assert.deepEqual(of('ADD'), [])
  assert.ok(of('WORKDIR').every(({ rest }) => rest.startsWith('/')))
  for (const { rest } of of('RUN')) assert.doesNotMatch(rest, /\b(sudo|curl|wget|apt|npx)\b/)
  const installs = of('RUN').filter(({ rest }) => rest.includes('npm install'))
  assert.equal(installs.length, 1)
  for (const option of ['--omit=dev', '--ignore-scripts', '--no-save']) assert.ok(installs[0]?.words.includes(option))
  for (const { rest } of [...of('ENV'), ...of('ARG')]) assert.doesNotMatch(rest, /PASSWORD|TOKEN|SECRET/)
  // The packages come before the sources, so that a changed source does not install them again.
  const names = stages[0]?.map(({ name, rest }) => `${name} ${rest}`) ?? []
  assert.ok(names.findIndex(line => line.includes('npm install')) < names.indexOf('COPY core core'))
})

test('what it copies is there and passes .dockerignore, and every folder of the product is copied', () => {
  const lines = text('.dockerignore')
    .split('\n')
    .filter(line => line && !line.startsWith('#'))
  assert.equal(lines[0], '*')
  const kept = lines.filter(line => line.startsWith('!')).map(line => line.slice(1))
  const copied = copiesFromHere.flatMap(({ words }) => words.slice(0, -1))
  for (const path of copied) {
    assert.ok(existsSync(join(ROOT, path)), `${path} is not there`)
    assert.ok(kept.includes(path), `${path} is left out by .dockerignore`)
  }
  assert.deepEqual(
    kept.filter(path => path !== 'deploy' && !copied.includes(path)),
    [],
  )
  const { include } = JSON.parse(text('tsconfig.json')) as { include: string[] }
  for (const folder of include.filter(name => !['test', 'bench'].includes(name)))
    assert.ok(copied.includes(folder), folder)
})

test('the lock file names every package of the image, for every platform', () => {
  type Locked = { dev?: true; dependencies?: Record<string, string>; optionalDependencies?: Record<string, string> }
  const { packages } = JSON.parse(text('package-lock.json')) as { packages: Record<string, Locked> }
  const missing = Object.entries(packages).flatMap(([path, locked]) =>
    Object.keys(locked.dev ? {} : { ...locked.dependencies, ...locked.optionalDependencies })
      .filter(name => !seenFrom(path).some(folder => `${folder}node_modules/${name}` in packages))
      .map(name => `${path} needs ${name}`),
  )
  assert.deepEqual(missing, [])
})
/** The folders whose node_modules a package sees, its own among them. */
const seenFrom = (path: string): string[] => [
  '',
  `${path}/`,
  ...[...path.matchAll(/\/(?=node_modules\/)/g)].map(({ index }) => path.slice(0, index + 1)),
]

/** What stands in /app of the last stage, laid out in a folder; packages are those of this checkout. */
function layOut(t: TestContext): string {
  const app = mkdtempSync(join(tmpdir(), 'im-image-'))
  t.after(() => rmSync(app, { recursive: true, force: true }))
  for (const { rest, words } of of('COPY', last)) {
    if (rest.includes('/app/node_modules')) symlinkSync(join(ROOT, 'node_modules'), join(app, 'node_modules'))
    else if (rest.includes('/app/dist')) {
      for (const folder of copiesFromHere.flatMap(({ words }) => words[0] ?? []))
        if (existsSync(join(ROOT, 'dist', folder)))
          cpSync(join(ROOT, 'dist', folder), join(app, 'dist', folder), { recursive: true })
    } else if (rest.includes('/app/assets')) for (const file of assets()) put(join(ROOT, file), join(app, file))
    else for (const path of words.slice(0, -1)) put(join(ROOT, path), join(app, path.split('/').at(-1) ?? ''))
  }
  return app
}
function put(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to)
}
/** As the `find` of the first stage. */
const assets = () =>
  ['protocol', 'core', 'storage', 'broker', 'api', 'server'].flatMap(folder =>
    (readdirSync(join(ROOT, folder), { recursive: true }) as string[])
      .map(name => `${folder}/${name}`)
      .filter(name => !/\.(ts|mjs)$/.test(name) && statSync(join(ROOT, name)).isFile()),
  )

async function exitOf(child: ChildProcess): Promise<number | null> {
  const [code] = (await once(child, 'exit')) as [number | null]
  return code
}

test('its files are enough: the server starts, its health check agrees, and SIGTERM ends both', {
  timeout: 60_000,
}, async t => {
  const app = layOut(t)
  const data = mkdtempSync(join(tmpdir(), 'im-image-data-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('IM_')))
  const env = {
    ...inherited,
    IM_DATA_DIR: data,
    IM_HTTP_PORT: '0',
    IM_MQTT_PORT: '0',
    IM_LOG_LEVEL: 'warn',
  }
  const [, ...entry] = listOf(only('ENTRYPOINT').rest)
  const server = spawn(process.execPath, entry, { cwd: app, env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => server.kill('SIGKILL'))
  const [line] = (await once(createInterface(server.stdout), 'line')) as [string]
  const { http } = JSON.parse(line) as { http: number }
  const [, ...check] = listOf(only('HEALTHCHECK').rest)
  const healthy = (...more: string[]) =>
    exitOf(
      spawn(process.execPath, [...check, ...more], {
        cwd: app,
        env: { ...env, IM_HTTP_PORT: String(http), IM_BIND: '0.0.0.0' },
        stdio: 'ignore',
      }),
    )
  assert.equal(await healthy(), 0)
  assert.equal(await healthy('/readyz'), 0)
  assert.equal(await healthy('/nowhere'), 1)
  server.kill('SIGTERM')
  assert.equal(await exitOf(server), 0)
  assert.equal(await healthy(), 1)
})
