/** The manual: OpenAPI and AsyncAPI as one page, from this server alone. */
import { drawSchema, el, prose } from './schema.js'

const content = document.getElementById('content')
const index = document.getElementById('index')
const find = document.getElementById('find')
const tabs = document.querySelectorAll('#tabs a')

const load = async path => (await fetch(path)).json()
const documents = { rest: load('/openapi.json'), mqtt: load('/asyncapi.json') }
const METHODS = ['get', 'post', 'put', 'patch', 'delete']

const section = (title, ...children) => el('section', {}, el('h4', {}, title), ...children)
const block = (id, words, head, ...children) =>
  el('article', { id, 'data-words': words.join(' ').toLowerCase() }, el('h3', {}, ...head), ...children)

// ---- REST ----

function rest(doc) {
  const all = Object.entries(doc.paths).flatMap(([path, methods]) =>
    METHODS.filter(method => methods[method]).map(method => ({ path, method, ...methods[method] })),
  )
  const groups = doc.tags.map(({ name, description }) => ({
    name,
    description,
    items: all
      .filter(operation => operation.tags.includes(name))
      .map(operation => ({
        id: `rest/${operation.operationId}`,
        label: [badge(operation.method), operation.operationId],
        node: operationOf(doc, operation),
      })),
  }))
  return { intro: doc.info.description, groups, base: doc.servers[0].url }
}

const badge = word => el('span', { class: `badge ${word}` }, word)

function operationOf(doc, { path, method, operationId, summary, parameters, requestBody, responses, security }) {
  const base = doc.servers[0].url
  const input = requestBody?.content['application/json'].schema
  const open = security?.length === 0 ? el('span', { class: 'badge open' }, 'no token') : ''
  return block(
    `rest/${operationId}`,
    [operationId, path, method, summary],
    [badge(method), el('code', { class: 'path' }, base + path), open, el('small', {}, operationId)],
    el('p', {}, ...prose(summary)),
    parameters.length
      ? section(
          'Parameters',
          el('ul', { class: 'fields' }, ...parameters.map(parameter => parameterOf(doc, parameter))),
        )
      : '',
    input ? section('Body', drawSchema(doc, input)) : '',
    section(
      'Answers',
      ...Object.entries(responses)
        .filter(([status]) => status < 300)
        .map(([status, answer]) => answerOf(doc, status, answer)),
    ),
    refusals(responses),
  )
}

function parameterOf(doc, { name, in: place, required, schema, description }) {
  return el(
    'li',
    {},
    el('span', { class: 'field' }, name),
    el('span', { class: 'optional' }, required ? place : `${place}, optional`),
    drawSchema(doc, schema),
    description ? el('p', {}, ...prose(description)) : '',
  )
}

function answerOf(doc, status, { description, content: body }) {
  const schema = body?.['application/json']?.schema
  return el(
    'div',
    { class: 'answer' },
    el('b', {}, status),
    ' ',
    ...prose(description),
    schema ? drawSchema(doc, schema) : '',
  )
}

function refusals(responses) {
  const rows = Object.entries(responses)
    .filter(([status]) => status >= 400)
    .flatMap(([status, { description }]) => description.split('\n\n').map(line => [status, line]))
    .map(([status, line]) =>
      el(
        'tr',
        {},
        el('td', {}, status),
        el('td', {}, ...prose(line.split(': ')[0])),
        el('td', {}, line.slice(line.indexOf(': ') + 2)),
      ),
    )
  return el(
    'details',
    { class: 'refusals' },
    el('summary', {}, `${rows.length} refusals`),
    el('table', {}, el('tbody', {}, ...rows)),
  )
}

// ---- MQTT ----

function mqtt(doc) {
  const all = Object.entries(doc.operations).map(([name, operation]) => ({
    name,
    ...operation,
    ...channelOf(doc, operation),
  }))
  const group = (title, description, action) => ({
    name: title,
    description,
    items: all
      .filter(operation => operation.action === action)
      .map(operation => ({ id: `mqtt/${operation.name}`, label: [operation.name], node: topicOf(doc, operation) })),
  })
  return {
    intro: doc.info.description,
    groups: [
      group('publish', 'What a client publishes.', 'receive'),
      group('subscribe', 'What a client subscribes to.', 'send'),
    ],
  }
}

const channelOf = (doc, { channel }) => {
  const { address, messages, parameters } = doc.channels[channel.$ref.split('/').pop()]
  return { address, parameters, message: Object.values(messages)[0] }
}

function topicOf(doc, { name, address, action, summary, title, description, bindings, message, parameters }) {
  const { qos, retain } = bindings.mqtt
  return block(
    `mqtt/${name}`,
    [name, address, summary, description],
    [
      badge(action === 'receive' ? 'publish' : 'subscribe'),
      el('code', { class: 'path' }, address),
      el('small', {}, `QoS ${qos}${retain ? ', retained' : ''}`),
    ],
    el('p', {}, ...prose(summary), title === summary ? '' : ` ${title}`),
    el('p', { class: 'limits' }, ...prose(description)),
    section('Payload', el('p', {}, ...prose(message.summary)), drawSchema(doc, message.payload)),
    section(
      'Levels',
      el(
        'ul',
        { class: 'fields' },
        ...Object.entries(parameters).map(([key, level]) =>
          el(
            'li',
            {},
            el('span', { class: 'field' }, key),
            level.description,
            level.default ? ` Usually ${level.default}.` : '',
          ),
        ),
      ),
    ),
  )
}

// ---- page ----

const drawn = {}
async function show() {
  const [tab = 'rest', name] = decodeURIComponent(location.hash.slice(1)).split('/')
  const which = tab === 'mqtt' ? 'mqtt' : 'rest'
  const doc = await documents[which]
  drawn[which] ??= which === 'mqtt' ? mqtt(doc) : rest(doc)
  document.getElementById('version').textContent = doc.info.version
  for (const link of tabs) link.classList.toggle('on', link.hash === `#${which}`)
  if (content.dataset.shown !== which) draw(which, drawn[which])
  const target = name && document.getElementById(`${which}/${name}`)
  if (target) target.scrollIntoView()
  else if (!name) scrollTo(0, 0)
}

function draw(which, { intro, groups }) {
  content.dataset.shown = which
  content.replaceChildren(
    el('p', { class: 'lead' }, ...prose(intro)),
    ...groups.map(({ name, description, items }) =>
      el('section', { class: 'group' }, el('h2', {}, name), el('p', {}, description), ...items.map(item => item.node)),
    ),
  )
  index.replaceChildren(
    ...groups.map(({ name, items }) =>
      el(
        'div',
        {},
        el('h5', {}, name),
        ...items.map(({ id, label }) => el('a', { href: `#${id}`, 'data-id': id }, ...label)),
      ),
    ),
  )
  filter()
}

function filter() {
  const words = find.value.trim().toLowerCase().split(/\s+/)
  for (const article of content.querySelectorAll('article')) {
    article.hidden = !words.every(word => article.dataset.words.includes(word))
    const link = index.querySelector(`[data-id="${CSS.escape(article.id)}"]`)
    if (link) link.hidden = article.hidden
  }
}

find.addEventListener('input', filter)
addEventListener('hashchange', show)
show().catch(error => content.replaceChildren(el('p', {}, `The documents cannot be read: ${error.message}`)))
