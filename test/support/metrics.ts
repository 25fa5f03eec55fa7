/** What a server tells at `/metrics`. */

export type Ask = (series: string) => number | undefined
/** By series, labels included; `undefined` where there is none. */
export function read(body: string): Ask {
  const all = new Map(body.split('\n').flatMap(line => (/^#|^$/.test(line) ? [] : [split(line)])))
  return series => all.get(series)
}
const split = (line: string): [string, number] => {
  const at = line.lastIndexOf(' ')
  return [line.slice(0, at), Number(line.slice(at + 1))]
}
export const metrics = async ({ ports }: { ports: { http: number } }): Promise<Ask> =>
  read(await (await fetch(`http://127.0.0.1:${ports.http}/metrics`)).text())
