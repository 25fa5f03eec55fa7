/** `npm start`: compiles what is stale, then becomes the server. */
import { compiled } from './compile.mjs'

await import(compiled('main.js'))
