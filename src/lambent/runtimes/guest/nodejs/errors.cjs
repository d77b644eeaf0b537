'use strict';
// Errors as Lambda reports them: {errorType, errorMessage, trace}, and the forms they take in a log line.

const { types } = require('util');

function runtimeError(name) {
  const type = class extends Error {};
  Object.defineProperty(type, 'name', { value: name });
  type.prototype.name = `Runtime.${name}`;
  return type;
}

const ImportModuleError = runtimeError('ImportModuleError');
const HandlerNotFound = runtimeError('HandlerNotFound');
const MalformedHandlerName = runtimeError('MalformedHandlerName');
const UserCodeSyntaxError = runtimeError('UserCodeSyntaxError');
const MalformedStreamingHandler = runtimeError('MalformedStreamingHandler');
const InvalidStreamingOperation = runtimeError('InvalidStreamingOperation');
const CallbackHandlerDeprecated = runtimeError('CallbackHandlerDeprecated');
const NodeJsExit = runtimeError('NodeJsExit');

class UnhandledPromiseRejection extends Error {
  constructor(reason, promise) {
    super(reason);
    this.reason = reason;
    this.promise = promise;
  }
}
UnhandledPromiseRejection.prototype.name = 'Runtime.UnhandledPromiseRejection';

// DEL is the one control character that JSON leaves as it is and HTTP headers do not carry.
const printable = (text) => (typeof text === 'string' ? text.replaceAll('\x7F', '%7F') : text);

const looksLikeError = (value) =>
  Boolean(value) && ['name', 'message', 'stack'].every((key) => typeof value[key] === 'string' && value[key] !== '');

// What the caller of the function sees.
function report(error) {
  try {
    if (types.isNativeError(error) || looksLikeError(error)) {
      return {
        errorType: printable(error.name),
        errorMessage: printable(error.message),
        trace: printable(error.stack).split('\n'),
      };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage:
        'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    };
  }
}

const asError = (value) => (value instanceof Error ? value : new Error(value));

function withOwnProperties(value) {
  if (!(value instanceof Error)) return value;
  const shown = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
  if (typeof value.stack === 'string') shown.stack = value.stack.split('\n');
  return shown;
}

// What follows "Invoke Error" in a text log line.
function forLogLine(error) {
  try {
    return '\t' + JSON.stringify(error, (_key, value) => withOwnProperties(value));
  } catch {
    return '\t' + JSON.stringify(report(error));
  }
}

// "    at run (/var/task/index.js:3:9)" and "    at /var/task/index.js:3:9"
const FRAME = /^\s*at (?:(.*) \()?(?:file:\/\/)?([^():]*):(\d+):\d+\)?$/;

// The cause that X-Ray draws in its trace; empty when the error cannot be read.
function xrayCause(error) {
  try {
    const stack = String(error.stack ?? '').split('\n').flatMap((line) => {
      const frame = FRAME.exec(line);
      return frame ? [{ path: frame[2], line: Number(frame[3]), label: frame[1] || 'anonymous' }] : [];
    });
    const paths = [...new Set(stack.map((frame) => frame.path))];
    const exceptions = [{ type: printable(error.name), message: printable(error.message), stack }];
    return JSON.stringify({ working_directory: process.cwd(), exceptions, paths });
  } catch {
    return '';
  }
}

module.exports = {
  ImportModuleError,
  HandlerNotFound,
  MalformedHandlerName,
  UserCodeSyntaxError,
  MalformedStreamingHandler,
  InvalidStreamingOperation,
  CallbackHandlerDeprecated,
  NodeJsExit,
  UnhandledPromiseRejection,
  report,
  asError,
  forLogLine,
  xrayCause,
};
