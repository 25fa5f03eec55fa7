/** `im user …` and `im app …`: who has an account, made and helped by who runs the server. */
import type { AppId, UserId } from '../../protocol/ids.ts'
import type { Command, Given } from '../commands.ts'
import type { Asked, Wish } from '../operator.ts'
import { asking } from './asking.ts'
import { secret } from './secret.ts'

/** As they are named; looked at where they are used. */
const appOf = ({ values: { app = 'im' } }: Given) => app as AppId
const account = (given: Given) => ({ app: appOf(given), user: (given.words[0] ?? '') as UserId })
const time = (at: number) => new Date(at).toISOString()
const say = (line: string) => process.stdout.write(`${line}\n`)

interface Page<Item> {
  items: Item[]
  next?: string
}
/** A line for each item of a list, page by page. */
async function listed<Item>(
  { flags }: Given,
  page: (ask: Ask, after: { after?: string }) => Promise<Page<Item>>,
  line: (item: Item) => string,
): Promise<number> {
  await asking(async ask => {
    let next: string | undefined
    do {
      const found = await page(ask, next === undefined ? {} : { after: next })
      for (const item of found.items) say(flags.has('json') ? JSON.stringify(item) : line(item))
      next = found.next
    } while (next !== undefined)
  })
  return 0
}
type Ask = Parameters<Parameters<typeof asking>[0]>[0]

async function done<W extends Wish>(wish: W, asked: Asked<W>, says: string): Promise<number> {
  await asking(async ask => void (await ask(wish, asked)))
  say(says)
  return 0
}

const listUsers = (given: Given) =>
  listed(
    given,
    (ask, after) => ask('listUsers', { app: appOf(given), ...after }),
    ({ user, name, createdAt }) => `${user}  ${time(createdAt)}  ${name}`,
  )
const listApps = (given: Given) =>
  listed(
    given,
    (ask, after) => ask('listApps', after),
    ({ app, owner, createdAt }) => `${app}  ${time(createdAt)}  ${owner}`,
  )
const listKeys = (given: Given) =>
  listed(
    given,
    ask => ask('listKeys', account(given)),
    ({ id, name, createdAt }) => `${id}  ${time(createdAt)}  ${name}`,
  )

async function createUser(given: Given): Promise<number> {
  const { name } = given.values
  const asked = { ...account(given), ...(name !== undefined && { name }), password: await secret('Password') }
  return done('createUser', asked, `${asked.user} is an account of ${asked.app}.`)
}

async function setPassword(given: Given): Promise<number> {
  const asked = { ...account(given), password: await secret('New password') }
  return done('setPassword', asked, `The password of ${asked.user} of ${asked.app} is set, and every log-in is ended.`)
}

async function logOut(given: Given): Promise<number> {
  const { app, user } = account(given)
  await asking(async ask => {
    const { logins, keys } = await ask('logOut', { app, user, keys: given.flags.has('keys') })
    say(`${user} of ${app}: ${logins} log-ins are ended, ${keys} keys are deleted.`)
  })
  return 0
}

const deleteKey = (given: Given) =>
  done('deleteKey', { ...account(given), id: given.words[1] ?? '' }, `The key ${given.words[1]} is deleted.`)

async function createApp(given: Given): Promise<number> {
  const app = (given.words[0] ?? '') as AppId
  return done('createApp', { app, password: await secret('Password of its owner') }, `The app ${app} has an owner.`)
}

const OF_APP = { app: 'APP' } as const

// biome-ignore format: a table
export const PEOPLE: Readonly<Record<string, Command>> = {
  'user list': { says: 'Lists the accounts of an app, `im` unless another is named', flags: ['json'], values: OF_APP, run: listUsers },
  'user create': { says: 'Makes an account, also where registration is closed; its password is read from standard input', words: ['USER'], values: { ...OF_APP, name: 'NAME' }, run: createUser },
  'user set-password': { says: 'Sets a password, read from standard input, and ends every log-in of the account', words: ['USER'], values: OF_APP, run: setPassword },
  'user log-out': { says: 'Ends every log-in of an account; with `--keys` deletes its keys and ends every connection', words: ['USER'], flags: ['keys'], values: OF_APP, run: logOut },
  'user keys': { says: 'Lists the keys of an account, without their secrets', words: ['USER'], flags: ['json'], values: OF_APP, run: listKeys },
  'user delete-key': { says: 'Deletes a key, and ends the connections that use it', words: ['USER', 'KEY'], values: OF_APP, run: deleteKey },
  'app list': { says: 'Lists the apps', flags: ['json'], run: listApps },
  'app create': { says: 'Makes an app with its account `owner`, whose password is read from standard input', words: ['APP'], run: createApp },
}
