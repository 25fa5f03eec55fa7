/** The shipped nginx before servers of a test: deploy/nginx with the addresses of this machine put in. */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { certify } from './certificate.ts'
import { text } from './deploy.ts'
import { bound, type Ends, finish, freePorts } from './ends.ts'

/** Debian has streams as a module; the image of nginx has them built in. */
const MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so'
const globals = existsSync(MODULE) ? `load_module ${MODULE};` : ''

export interface Upstream {
  mqtt: number
  http: number
}
interface Listens extends Upstream {
  mqtts: number
  https: number
}

/** What a server has to be told when this nginx stands before it. */
export const BEHIND_NGINX = { IM_PROXY_PROTOCOL: 'on', IM_TRUSTED_PROXIES: '127.0.0.1' }

export class Nginx {
  readonly directory: string
  readonly ports: Listens
  #process: ChildProcess | undefined

  private constructor(directory: string, ports: Listens) {
    this.directory = directory
    this.ports = ports
  }

  /** Its files, with a certificate of its own for TLS; not started yet. Gone when the test ends. */
  static async make(t: Ends, servers: readonly Upstream[], { tls = false } = {}): Promise<Nginx> {
    const directory = mkdtempSync(join(tmpdir(), 'im-nginx-'))
    // Started by root, its workers are somebody else, who connects to a socket in here.
    chmodSync(directory, 0o711)
    const [mqtt = 0, http = 0, mqtts = 0, https = 0, closed = 0] = await freePorts(5)
    const nginx = new Nginx(directory, { mqtt, http, mqtts, https })
    t.after(async () => {
      await nginx.stop()
      rmSync(directory, { recursive: true, force: true })
    })
    if (tls) certify({ key: join(directory, 'tls_key'), cert: join(directory, 'tls_certificate') })
    nginx.#settle(servers, closed, tls)
    return nginx
  }

  /** Whether it takes its files, and what it says of them. */
  check(): { status: number | null; stderr: string } {
    return spawnSync('nginx', [...this.#call(''), '-t'], { encoding: 'utf8' })
  }

  /** Resolves when it listens. */
  async start(): Promise<void> {
    // Its pid is written when every port is open.
    const listening = new AbortController()
    const watcher = watch(this.directory, (_, name) => {
      if (name === 'nginx.pid') listening.abort()
    })
    // Its workers end with a master that is asked to end, not with one that is killed.
    const child = bound('nginx', this.#call(' daemon off;'), { stdio: 'ignore' }, 'TERM')
    this.#process = child
    const opened = once(listening.signal, 'abort')
    const ended = once(child, 'exit').then(() => {
      throw new Error(`nginx ended: ${readFileSync(join(this.directory, 'error.log'), 'utf8')}`)
    })
    ended.catch(() => {})
    await Promise.race([opened, ended]).finally(() => watcher.close())
  }

  async stop(): Promise<void> {
    await finish(this.#process, 'SIGTERM')
  }

  #call(directives: string): string[] {
    return ['-p', this.directory, '-c', join(this.directory, 'nginx.conf'), '-g', `${globals}${directives}`]
  }

  /** im1, im2 … are the servers; those of the shipped file that are more than there are lead to a closed port. */
  #settle(servers: readonly Upstream[], closed: number, tls: boolean): void {
    const { directory, ports } = this
    const listens: Record<string, number> = { 1883: ports.mqtt, 8080: ports.http, 8883: ports.mqtts, 8443: ports.https }
    const portOf = (i: number, port: string) => servers[i - 1]?.[port === '1883' ? 'mqtt' : 'http'] ?? closed
    const more = Array.from({ length: Math.max(0, servers.length - 3) }, (_, i) => i + 4)
    const settled = (conf: string) =>
      conf
        .replace(/^( *server im)2(:\d+ .*)$/gm, (line, before, after) =>
          [line, ...more.map(i => `${before}${i}${after}`)].join('\n'),
        )
        .replace(/im(\d+):(\d+)/g, (_, i, port) => `127.0.0.1:${portOf(Number(i), port)}`)
        .replace(/listen (\d+)/g, (_, port: string) => `listen 127.0.0.1:${listens[port]}`)
        .replaceAll('/tmp/', `${directory}/`)
        .replaceAll('/dev/stderr', `${directory}/error.log`)
        .replaceAll('/run/secrets/', `${directory}/`)
        .replaceAll('/etc/nginx/tls/', `${directory}/tls/`)
        .replace('worker_processes 2', 'worker_processes 1')
        .replace('worker_connections 65536', 'worker_connections 4096')
        .replace(/worker_rlimit_nofile \d+;/, '')
    writeFileSync(join(directory, 'nginx.conf'), settled(text('deploy/nginx/nginx.conf')))
    mkdirSync(join(directory, 'tls'))
    for (const name of tls ? ['stream.conf', 'http.conf'] : [])
      writeFileSync(join(directory, 'tls', name), settled(text(`deploy/nginx/tls/${name}`)))
  }
}
