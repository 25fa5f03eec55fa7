/** What a cluster is made of, and how Debian gets it. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { absentJava } from '../support/cassandra/java.ts'

const STREAMS = ['/usr/lib/nginx/modules/ngx_stream_module.so']

/** One sentence for each part that is not installed. */
export function missing({ nginx }: { nginx: boolean }): string[] {
  const found: string[] = []
  if (isAbsent('redis-server')) found.push('redis-server is not installed: apt-get install redis-server.')
  const java = absentJava()
  if (java) found.push(java)
  if (nginx && isAbsent('nginx'))
    found.push('nginx is not installed: apt-get install nginx libnginx-mod-stream, or go without it (--no-nginx).')
  else if (nginx && !hasStreams())
    found.push('nginx has no streams: apt-get install libnginx-mod-stream, or go without it (--no-nginx).')
  return found
}

const isAbsent = (program: string) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0
const hasStreams = () =>
  STREAMS.some(existsSync) || /--with-stream(\s|$)/.test(spawnSync('nginx', ['-V'], { encoding: 'utf8' }).stderr)
