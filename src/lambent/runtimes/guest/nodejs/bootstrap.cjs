'use strict';
// Lambda's Node.js runtime: loads the function once, then asks the Runtime API for events and answers them, one at a time.

const { beCalled } = require('./waiting.cjs');
const { Channel } = require('./channel.cjs');
const { NodeJsExit, UnhandledPromiseRejection, report, xrayCause } = require('./errors.cjs');
const logging = require('./console.cjs');
const { callbacksRemoved, load } = require('./loader.cjs');

const UNCAUGHT_STATUS = 129; // what Lambda's own client exits with
const UNHANDLED_REJECTION_STATUS = 128;
const UNSETTLED_STATUS = 13; // Node's own, for a top-level await that never ends
const LAST_WORDS_MS = 2000;

beCalled();
const channel = new Channel(process.env.AWS_LAMBDA_RUNTIME_API);

let lastRequestId = null;
let openStream = null; // the response that is being streamed
let whenIdle = () => process.exit(UNSETTLED_STATUS); // called when the event loop is empty

function parseHeader(headers, name, label) {
  const text = headers[name];
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${label} as json: ${error}`);
  }
}

function describe(headers) {
  const deadlineMs = Number(headers['lambda-runtime-deadline-ms']);
  return {
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parseHeader(headers, 'lambda-runtime-client-context', 'ClientContext'),
    identity: parseHeader(headers, 'lambda-runtime-cognito-identity', 'CognitoIdentity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis: () => deadlineMs - Date.now(),
  };
}

function serialize(result) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? 'null';
  } catch {
    throw new Error('Unable to stringify response body');
  }
}

// One event on its way through the handler. Whatever settles it first, wins.
class Invocation {
  #settled = false;
  waitsForEmptyLoop = true;

  constructor(requestId) {
    this.requestId = requestId;
  }

  // The function's own code may still run afterwards; it cannot answer twice.
  #settle(send) {
    if (this.#settled) return;
    const sent = send(); // may throw: then it is not settled
    this.#settled = true;
    whenIdle = () => {};
    sent.then(handle, stop);
  }

  succeed(result) {
    this.#settle(() => channel.respondAndNext(this.requestId, serialize(result)));
  }

  fail(error) {
    this.#settle(() => {
      logging.logError('Invoke Error', error);
      return channel.postError(`/invocation/${this.requestId}/error`, report(error), xrayCause(error)).then(() => channel.next());
    });
  }

  // A callback's result is sent when nothing is left to do, unless the function asked otherwise.
  callback(error, result) {
    if (this.#settled) return;
    if (error !== undefined && error !== null) {
      this.fail(error);
    } else if (this.waitsForEmptyLoop) {
      whenIdle = () => setImmediate(() => this.#attempt(() => this.succeed(result)));
    } else {
      this.#attempt(() => this.succeed(result));
    }
  }

  done(error, result) {
    if (error !== undefined && error !== null) this.fail(error);
    else this.#attempt(() => this.succeed(result));
  }

  #attempt(succeed) {
    try {
      succeed();
    } catch (error) {
      this.fail(error);
    }
  }
}

// The old ways to answer. The first of them that is used wins, and a promise's result is one of them.
function addCallbackContext(context, invocation) {
  let called = false;
  const once = (answer) => (...values) => {
    if (called) return;
    called = true;
    answer(...values);
  };
  addWaitSwitch(context, invocation);
  context.succeed = once((result) => invocation.done(null, result));
  context.fail = once((error) => invocation.done(error ?? 'handled'));
  context.done = once((error, result) => invocation.done(error, result));
  return once((error, result) => invocation.callback(error, result));
}

function addWaitSwitch(context, invocation) {
  Object.defineProperty(context, 'callbackWaitsForEmptyEventLoop', {
    enumerable: true,
    get: () => invocation.waitsForEmptyLoop,
    set: (wanted) => {
      invocation.waitsForEmptyLoop = wanted;
    },
  });
}

function runWithCallback({ handler, isAsync }, event, context, invocation) {
  const callback = addCallbackContext(context, invocation);
  const { succeed, fail } = context;
  // Nothing can answer any more: a promise was never settled, or the callback never called.
  whenIdle = () => (isAsync ? invocation.fail(unexpectedExit()) : invocation.succeed(null));
  const result = handler(event, context, callback);
  if (typeof result?.then === 'function') result.then(succeed, fail);
}

function runPlain({ handler }, event, context, invocation) {
  whenIdle = () => invocation.fail(unexpectedExit());
  const result = handler(event, context);
  if (typeof result?.then === 'function') {
    result.then((value) => invocation.done(null, value), (error) => invocation.fail(error));
  } else {
    invocation.done(null, result);
  }
}

function runStreaming({ handler, highWaterMark }, event, context, invocation) {
  const { ResponseStream } = require('./streaming.cjs');
  const stream = (openStream = new ResponseStream(channel, invocation.requestId, highWaterMark));
  let concluded = false;
  const next = () => {
    whenIdle = () => {};
    channel.next().then(handle, stop);
  };
  const conclude = () => {
    concluded = true;
    openStream = null;
    if (callbacksRemoved || !invocation.waitsForEmptyLoop) return next();
    channel.rest();
    whenIdle = () => setImmediate(next);
  };
  invocation.fail = (error) => {
    if (concluded) return;
    concluded = true;
    logging.logError('Invoke Error', error);
    stream.fail(error).then(conclude, stop);
  };
  if (!callbacksRemoved) addWaitSwitch(context, invocation);
  whenIdle = () => invocation.fail(unexpectedExit());
  const result = handler(event, stream, context);
  if (typeof result?.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
  result
    .then((value) => {
      if (value !== undefined) console.warn('Streaming handlers ignore return values.');
      return stream.answered;
    })
    .then(() => concluded || conclude())
    .catch(invocation.fail);
}

const unexpectedExit = () =>
  new NodeJsExit(
    'The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes',
  );

let loaded; // the function
let run; // how it is called

function handle({ status, headers, body }) {
  channel.rest();
  if (status !== 200) return stop(new Error(`it answered ${status} instead of an event`));
  const requestId = (lastRequestId = headers['lambda-runtime-aws-request-id']);
  logging.setRequest(requestId, headers['lambda-runtime-aws-tenant-id']);
  const trace = headers['lambda-runtime-trace-id'];
  if (trace) process.env._X_AMZN_TRACE_ID = trace;
  else delete process.env._X_AMZN_TRACE_ID;
  const invocation = new Invocation(requestId);
  // Away from this promise, so that what the handler throws later is an uncaught exception and no rejection.
  setImmediate(() => {
    try {
      run(loaded, JSON.parse(body.toString()), describe(headers), invocation);
    } catch (error) {
      invocation.fail(error);
    }
  });
}

// The Runtime API is gone: this environment is being taken down.
function stop(error) {
  process.stderr.write(`The connection to the Runtime API is lost: ${error?.message}\n`);
  process.exit(1);
}

// Reports an error that nothing in the function caught, on a connection of its own, and ends the process.
function die(what, error, status) {
  logging.logError(what, error);
  const path = lastRequestId === null ? '/init/error' : `/invocation/${lastRequestId}/error`;
  const told = openStream
    ? openStream.fail(error)
    : new Channel(process.env.AWS_LAMBDA_RUNTIME_API).postError(path, report(error), xrayCause(error));
  setTimeout(() => process.exit(status), LAST_WORDS_MS);
  const exit = () => process.exit(status);
  told.then(exit, exit);
}

async function main() {
  logging.install();
  process.on('uncaughtException', (error) => die('Uncaught Exception', error, UNCAUGHT_STATUS));
  process.on('unhandledRejection', (reason, promise) =>
    die('Unhandled Promise Rejection', new UnhandledPromiseRejection(reason, promise), UNHANDLED_REJECTION_STATUS),
  );
  process.on('beforeExit', () => whenIdle());
  channel.connect();
  channel.rest();
  try {
    loaded = await load(process.env.LAMBDA_TASK_ROOT || process.cwd(), process.env._HANDLER);
  } catch (error) {
    die(callbacksRemoved ? 'Init Error' : 'Uncaught Exception', error, callbacksRemoved ? 1 : UNCAUGHT_STATUS);
    return;
  }
  if (loaded.isStreaming) run = runStreaming;
  else run = callbacksRemoved ? runPlain : runWithCallback;
  whenIdle = () => {};
  channel.next().then(handle, stop);
}

main();
