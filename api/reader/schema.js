/** Draws a JSON Schema as a list of fields; references open where they stand. */

/** An element with attributes and children; text is always text. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(key, value)
  node.append(...children.flat().filter(child => child !== undefined && child !== ''))
  return node
}

/** Text with `code` in it. */
export const prose = text =>
  String(text ?? '')
    .split(/`([^`]+)`/)
    .map((part, i) => (i % 2 ? el('code', {}, part) : part))

const nameOf = ref => ref.split('/').pop()
const resolve = (doc, schema) =>
  schema?.$ref
    ? schema.$ref
        .slice(2)
        .split('/')
        .reduce((at, key) => at?.[key], doc)
    : schema

/** In a few words. */
function kind(schema) {
  if (schema === undefined || schema === true) return 'anything'
  if (schema.$ref) return nameOf(schema.$ref)
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map(value => JSON.stringify(value)).join(' | ')
  const variants = schema.anyOf ?? schema.oneOf
  if (variants) return [...new Set(variants.map(kind))].join(' | ')
  if (schema.type === 'array') return `${kind(schema.items)}[]`
  if (Array.isArray(schema.type)) return schema.type.join(' | ')
  return schema.format ?? schema.type ?? 'anything'
}

function limits(schema) {
  const said = []
  const range = (low, high, unit) => {
    if (low !== undefined && high !== undefined && high < Number.MAX_SAFE_INTEGER) said.push(`${low} to ${high}${unit}`)
    else if (low !== undefined && low > -Number.MAX_SAFE_INTEGER) said.push(`at least ${low}${unit}`)
    else if (high !== undefined && high < Number.MAX_SAFE_INTEGER) said.push(`at most ${high}${unit}`)
  }
  range(schema.minimum, schema.maximum, '')
  range(schema.minLength, schema.maxLength, ' characters')
  range(schema.minItems, schema.maxItems, ' items')
  if (schema.default !== undefined) said.push(`default ${JSON.stringify(schema.default)}`)
  return said.join(', ')
}

/** A field: its name, kind and limits, and what it is made of. */
function field(doc, name, schema, required, seen) {
  const inner = body(doc, schema, seen)
  const full = resolve(doc, schema) ?? {}
  const line = [
    el('span', { class: 'field' }, name),
    required ? '' : el('span', { class: 'optional' }, 'optional'),
    el('span', { class: 'kind' }, kind(schema)),
    el('span', { class: 'limits' }, limits(full)),
    full.description ? el('span', { class: 'limits' }, ...prose(full.description)) : '',
  ]
  return inner ? el('li', {}, el('details', {}, el('summary', {}, ...line), inner)) : el('li', {}, ...line)
}

/** What a schema is made of, or nothing where `kind` has said it all. */
function body(doc, given, seen = []) {
  if (given?.$ref) {
    if (seen.includes(given.$ref)) return undefined
    seen = [...seen, given.$ref]
  }
  const schema = resolve(doc, given)
  if (!schema || typeof schema !== 'object') return undefined
  if (schema.properties) {
    const required = schema.required ?? []
    const fields = Object.entries(schema.properties)
    return el(
      'ul',
      { class: 'fields' },
      ...fields.map(([name, of]) => field(doc, name, of, required.includes(name), seen)),
    )
  }
  const variants = schema.anyOf ?? schema.oneOf
  if (variants) {
    const parts = variants.map(variant => [variant, body(doc, variant, seen)]).filter(([, inner]) => inner)
    if (parts.length === 0) return undefined
    return el('div', { class: 'variants' }, ...parts.map(([variant, inner]) => titled(doc, variant, inner)))
  }
  return schema.type === 'array' ? body(doc, schema.items, seen) : undefined
}

/** One of several shapes, by its name or by the field that tells it apart. */
function titled(doc, variant, inner) {
  const properties = resolve(doc, variant)?.properties ?? {}
  const tag = Object.entries(properties).find(([, of]) => of.const !== undefined)
  const title = variant.$ref ? nameOf(variant.$ref) : tag ? `${tag[0]} ${JSON.stringify(tag[1].const)}` : kind(variant)
  return el('details', {}, el('summary', {}, el('span', { class: 'kind' }, title)), inner)
}

export function drawSchema(doc, schema) {
  const said = schema?.description ? [el('p', {}, ...prose(schema.description))] : []
  return el('div', { class: 'schema' }, el('span', { class: 'kind' }, kind(schema)), ...said, body(doc, schema) ?? '')
}
