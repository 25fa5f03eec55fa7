/** How Cassandra is called, and where its jars are from: Maven, or the installation that CASSANDRA_HOME names. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from '../../../server/documents.ts'

export const RECIPE = join(ROOT, 'test/support/cassandra')

const DAEMON = 'org.apache.cassandra.service.CassandraDaemon'
/** What Cassandra reaches into, as its own jvm17-server.options has it. */
// biome-ignore format: two lists
const EXPORTS = ['java.base/jdk.internal.misc', 'java.base/java.lang.ref', 'java.management.rmi/com.sun.jmx.remote.internal.rmi', 'java.rmi/sun.rmi.registry', 'java.rmi/sun.rmi.server', 'java.sql/java.sql', 'jdk.unsupported/sun.misc', 'jdk.attach/sun.tools.attach', 'jdk.compiler/com.sun.tools.javac.file']
// biome-ignore format: two lists
const OPENS = ['java.base/java.io', 'java.base/java.lang', 'java.base/java.lang.module', 'java.base/java.lang.reflect', 'java.base/java.util', 'java.base/jdk.internal.loader', 'java.base/jdk.internal.math', 'java.base/jdk.internal.module', 'java.base/jdk.internal.ref', 'java.base/jdk.internal.reflect', 'java.base/jdk.internal.util.jar', 'java.base/sun.nio.ch', 'jdk.compiler/com.sun.tools.javac', 'jdk.management/com.sun.management.internal']
const JAVA = [
  ...EXPORTS.map(name => `--add-exports=${name}=ALL-UNNAMED`),
  ...OPENS.map(name => `--add-opens=${name}=ALL-UNNAMED`),
  // Half of the processor time of a start goes to the second compiler and the threads of G1.
  ...['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xms128m', '-Xss256k'],
  ...['-XX:+ExitOnOutOfMemoryError', '-XX:+PerfDisableSharedMem', '-Djava.net.preferIPv4Stack=true'],
  ...['-Djdk.attach.allowAttachSelf=true', '-Dio.netty.tryReflectionSetAccessible=true'],
  `-Dlogback.configurationFile=file:${join(RECIPE, 'logback.xml')}`,
  '-Dcassandra.skip_wait_for_gossip_to_settle=0',
]

/** Another version than the recipe's, for a run by hand: 4.1.9. It is of Java 11, and of 17 with what this allows. */
const VERSION = process.env.CASSANDRA_VERSION
// biome-ignore format: a list
const MEASURED = ['java.util', 'java.util.concurrent', 'java.util.concurrent.atomic', 'java.util.concurrent.locks', 'java.util.function', 'java.util.regex', 'java.nio', 'java.nio.channels', 'java.nio.charset', 'java.nio.file', 'java.net', 'java.math', 'java.text', 'java.time', 'java.security', 'java.lang.invoke', 'sun.nio.cs', 'sun.nio.fs', 'sun.net.www.protocol.jar', 'sun.net.www.protocol.file', 'jdk.internal.util', 'jdk.internal.access', 'jdk.internal.perf', 'jdk.internal.misc', 'jdk.internal.vm', 'sun.security.action']
const OLD = VERSION?.startsWith('4.')
  ? ['-Djava.security.manager=allow', ...MEASURED.map(name => `--add-opens=java.base/${name}=ALL-UNNAMED`)]
  : []
/** What a version before 5 does not know and refuses to start with. */
export const configOf = (yaml: string) =>
  OLD.length > 0 ? yaml.replace(/^storage_compatibility_mode: .*$/m, '') : yaml

/** Of a node: what is run, with which arguments. */
export function commandOf(jars: string, config: string, options: readonly string[]): [program: string, args: string[]] {
  const agent = readdirSync(jars).find(name => /^jamm-.*\.jar$/.test(name))
  const own = [`-javaagent:${join(jars, agent ?? 'jamm.jar')}`, `-Dcassandra.config=file:${config}`]
  return [javaProgram(), [...JAVA, ...OLD, ...own, ...options, '-cp', join(jars, '*'), DAEMON]]
}

const javaProgram = () => (process.env.JAVA_HOME ? join(process.env.JAVA_HOME, 'bin/java') : 'java')

/** The directory of the jars; the first call fetches them, 70 MB. @throws Error, one sentence: what is missing. */
export function install(): string {
  const { CASSANDRA_HOME, XDG_CACHE_HOME } = process.env
  const missing = absentJava()
  if (missing) throw new Error(missing)
  if (CASSANDRA_HOME) return join(CASSANDRA_HOME, 'lib')
  const named = createHash('sha256')
    .update(readFileSync(join(RECIPE, 'pom.xml')))
    .update(VERSION ?? '')
    .digest('hex')
    .slice(0, 12)
  const jars = join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'im-cassandra', named)
  if (!existsSync(jars)) fetchJars(jars)
  return jars
}

/** Whether nothing here can run Cassandra: what is missing, and how Debian gets it. */
export function absentJava(): string | false {
  const { stderr } = spawnSync(javaProgram(), ['-version'], { encoding: 'utf8' })
  const major = /version "(\d+)/.exec(stderr ?? '')?.[1]
  if (major !== '17') {
    const found = major ? `${javaProgram()} is version ${major}` : 'java is not installed'
    return `Cassandra needs Java 17, and ${found}: apt-get install openjdk-17-jre-headless, or set JAVA_HOME.`
  }
  if (process.env.CASSANDRA_HOME || !spawnSync('mvn', ['-v']).error) return false
  return 'Maven, which fetches Cassandra, is not installed: apt-get install maven, or set CASSANDRA_HOME.'
}

/** Several processes may do it at once: the first one's are kept. */
function fetchJars(jars: string): void {
  const half = `${jars}.${process.pid}`
  const version = VERSION ? [`-Dcassandra.version=${VERSION}`] : []
  const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${half}`, ...version]
  const { status, stdout, stderr } = spawnSync('mvn', ['-B', '-q', '-f', join(RECIPE, 'pom.xml'), ...goal], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`Maven could not fetch Cassandra: ${stdout}${stderr}`)
  if (existsSync(jars)) rmSync(half, { recursive: true })
  else renameSync(half, jars)
}
