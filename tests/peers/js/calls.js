// Calls methods of the JavaScript dicomweb-client, unmodified, as a page would: one call a line of standard input, one
// answer a line of standard output. NODE_PATH names the folder with the packages.
//
//   node calls.js DICOMWEB_URL
//   {"method": "retrieveInstanceFrames", "options": {…}}  →  {"value": …} or {"status": …, "error": …}
//
// Byte arrays go either way as {"base64": …}.

'use strict';

global.XMLHttpRequest = require('xhr2');
const readline = require('readline');
const { api } = require('dicomweb-client');

const clients = {};

/** A client that asks for single parts of these kinds, made once. */
function clientFor(singlepart) {
  clients[singlepart] ??= new api.DICOMwebClient({ url: process.argv[2], singlepart, verbose: false });
  return clients[singlepart];
}

function fromJson(value) {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value === null || typeof value !== 'object') return value;
  if ('base64' in value) {
    // A buffer of its own: Node hands out pieces of a larger one.
    return new Uint8Array(Buffer.from(value.base64, 'base64')).buffer;
  }
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, fromJson(of)]));
}

function toJson(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    const bytes = value instanceof ArrayBuffer ? new Uint8Array(value) : value;
    return { base64: Buffer.from(bytes).toString('base64') };
  }
  return Array.isArray(value) ? value.map(toJson) : value;
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { method, options, singlepart = '' } = JSON.parse(line);
    let answer;
    try {
      answer = { value: toJson(await clientFor(singlepart)[method](fromJson(options))) };
    } catch (error) {
      answer = { error: String(error), status: error.status };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

main();
