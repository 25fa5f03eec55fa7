/** Proof by password: whoever gives it is the user. Guessing is throttled, and tells nothing about who exists. */
import { Fault } from '../../protocol/faults.ts'
import type { AppId, EpochMs, UserId } from '../../protocol/ids.ts'
import { type Change, check, type Passwords, put, type Records, type Throttle } from '../ports.ts'
import { turns } from '../turns.ts'
import { guess } from './attempts.ts'
import { PASSWORDS, type PasswordRow } from './tables.ts'

interface Needs {
  records: Records
  passwords: Passwords
  throttle: Throttle
}

/** Attempts at one account that wait for each other. */
const MAX_WAITING = 32

interface Claimed {
  app: AppId
  user: UserId
  address: string
}
/** A proven password, as changes of a write. */
interface Proof {
  /** Refuses the write when the password was changed since. */
  still: () => Change
  /** Sets the next one, in place of the one that was proven. */
  next: (hash: string, changedAt: EpochMs) => Change
}

export const firstPassword = (app: AppId, user: UserId, hash: string, changedAt: EpochMs): Change =>
  put(PASSWORDS, app, user, { hash, changedAt } satisfies PasswordRow, 0)

export function proof({ records, passwords, throttle }: Needs) {
  const inTurn = turns(MAX_WAITING)

  /** @throws Fault `bad-credentials` · `too-many-requests` */
  function byPassword({ app, user, address }: Claimed, password: string): Promise<Proof> {
    const [account, ...network] = guess(app, user, address)
    // One at a time: right passwords that come together are not taken for so many wrong ones.
    return inTurn(`${app}/${user}`, async () => {
      // A locked account is refused before the password is looked at.
      await throttle.take(account, ...network)
      let wrong = false
      try {
        const found = await records.get(PASSWORDS, app, user)
        // For a user that does not exist too, and as long.
        wrong = !(await passwords.verify(found?.row.hash, password)) || !found
        if (wrong || !found) throw new Fault('bad-credentials')
        await throttle.forget(account)
        return {
          still: () => check(PASSWORDS, app, user, found.version),
          next: (hash, changedAt) => put(PASSWORDS, app, user, { hash, changedAt }, found.version),
        }
      } finally {
        // What failed for another reason was no guess.
        if (!wrong) await throttle.giveBack(account, ...network)
      }
    })
  }

  return { byPassword }
}
