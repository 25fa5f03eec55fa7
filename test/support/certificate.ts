/** A certificate for localhost that signs itself, as openssl makes it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'

/** @param files where the key and the certificate go, in PEM */
export function certify(files: { key: string; cert: string }): void {
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=localhost', '-keyout', files.key, '-out', files.cert],
  ])
  assert.equal(made.status, 0, String(made.error ?? made.stderr))
}
