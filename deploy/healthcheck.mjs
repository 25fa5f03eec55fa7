/** Asks the server in this container whether it lives (`/healthz`), or what path is given; ends with 0 if it does. */
import { request as http } from 'node:http'
import { request as https } from 'node:https'

const { IM_HTTP_PORT: port = '8080', IM_TLS_CERT: certificate, IM_BIND: bind = '127.0.0.1' } = process.env
const path = process.argv[2] ?? '/healthz'
// Every interface includes this one.
const host = ['0.0.0.0', '::'].includes(bind) ? '127.0.0.1' : bind
// The certificate names the server to others, not to this machine.
const options = { host, port: port || '8080', path, timeout: 4_000, rejectUnauthorized: false }
const end = (code, why = '') => {
  if (why) process.stderr.write(`${why}\n`)
  process.exit(code)
}

const asked = (certificate ? https : http)(options, answer => {
  answer.resume()
  answer.on('end', () => (answer.statusCode === 200 ? end(0) : end(1, `${path} answers ${answer.statusCode}`)))
})
asked.on('timeout', () => end(1, `${path} does not answer`))
asked.on('error', error => end(1, `${path}: ${error.message}`))
asked.end()
