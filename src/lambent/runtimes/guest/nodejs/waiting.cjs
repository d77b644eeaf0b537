'use strict';
// A process that is started before its function is known waits here, doing nothing, for the function's variables. They come
// as JSON over the descriptor in _LAMBENT_WAIT_FD; by then code, layers, limits and the working directory are there.

const fs = require('fs');

const VARIABLE = '_LAMBENT_WAIT_FD';

function beCalled() {
  const descriptor = process.env[VARIABLE];
  if (descriptor === undefined) return;
  const text = fs.readFileSync(Number(descriptor), 'utf8');
  if (text === '') process.exit(0); // nobody needs this process
  fs.closeSync(Number(descriptor));
  const variables = JSON.parse(text);
  for (const name of Object.keys(process.env)) if (!(name in variables)) delete process.env[name];
  Object.assign(process.env, variables);
}

module.exports = { beCalled };
