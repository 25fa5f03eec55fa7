/** Finding people by the beginnings of what they are called. */

/** Places in one name where a search may begin; a longer name is found by the first of them only. */
const MAX_PLACES = 16
/** Of a place, in characters; a query is compared by as many. */
const MAX_LENGTH = 64
const SEPARATOR = '\u0001'
const HAN = /\p{Script=Han}/u
const WORD = /[\p{L}\p{M}\p{N}]/u

/** One spelling for what a reader takes for the same: compatibility forms, case, accents of alphabets and spaces. */
export function folded(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .normalize('NFD')
    .replace(/[\u0300-\u036f]/g, '')
    .normalize('NFC')
    .replace(/[\s\p{C}]+/gu, ' ')
    .trim()
}

export const asked = (query: string) => [...folded(query)].slice(0, MAX_LENGTH).join('')

/** Where a search for a person may begin: at each word of the name and the id, and at each Han character. */
export function placesOf(user: string, name: string): string[] {
  return [...new Set([...places(user), ...places(folded(name))])]
}

function places(text: string): string[] {
  const characters = [...text]
  const found: string[] = []
  for (let i = 0; i < characters.length && found.length < MAX_PLACES; i++) {
    const here = characters[i] as string
    const before = characters[i - 1]
    const inWord = before !== undefined && WORD.test(before) && !HAN.test(before)
    const begins = i === 0 || HAN.test(here) || (WORD.test(here) && !inWord)
    if (begins) found.push(characters.slice(i, i + MAX_LENGTH).join(''))
  }
  return found
}

/** The record key of a place: places sort by their text, then by user. */
export const placeKey = (place: string, user: string) => `${place}${SEPARATOR}${user}`
export const placeOf = (key: string) => key.slice(0, key.lastIndexOf(SEPARATOR))
