'use strict';
// console.* as functions see it on Lambda: every line carries time, request id and level, as text or as JSON.
//
// Lines go as frames to the descriptor in _LAMBDA_TELEMETRY_LOG_FD, so that one message may have several lines:
// four bytes of type, four of length, eight of microseconds since the epoch, all big-endian, then the message.

const fs = require('fs');
const { format } = require('util');
const { asError, forLogLine } = require('./errors.cjs');

const TEXT_FRAME = 0xa55a0003;
const JSON_FRAME = 0xa55a0002;
const FRAME_HEADER_BYTES = 16;
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const METHODS = { trace: 'TRACE', debug: 'DEBUG', info: 'INFO', log: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' };

// Logging libraries read the request id under these names.
const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');
const TENANT_ID = Symbol.for('aws.lambda.runtime.tenantId');

const typeName = (error) => error?.constructor?.name ?? 'UnknownError';
const stackLines = (error) => (typeof error.stack === 'string' ? error.stack.split('\n') : error.stack);

function errorsAsObjects(_key, value) {
  if (!(value instanceof Error)) return value;
  return { errorType: typeName(value), errorMessage: value.message, stackTrace: stackLines(value), ...value };
}

function jsonLine(time, level, values) {
  const line = { timestamp: time.toISOString(), level, requestId: globalThis[REQUEST_ID] };
  const tenantId = globalThis[TENANT_ID];
  if (tenantId != null) line.tenantId = tenantId;
  if (values.length === 1) {
    try {
      return JSON.stringify({ ...line, message: values[0] }, errorsAsObjects);
    } catch {
      return JSON.stringify({ ...line, message: format(values[0]) }); // circular, or a BigInt
    }
  }
  line.message = format(...values);
  const error = values.find((value) => value instanceof Error);
  if (error !== undefined) {
    Object.assign(line, { errorType: typeName(error), errorMessage: error.message, stackTrace: stackLines(error) ?? [] });
  }
  return JSON.stringify(line);
}

function textLine(time, level, values) {
  return `${time.toISOString()}\t${globalThis[REQUEST_ID]}\t${level}\t${format(...values)}`;
}

function writeAll(descriptor, bytes) {
  for (let sent = 0; sent < bytes.length; ) {
    try {
      sent += fs.writeSync(descriptor, bytes, sent);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); // the reader is behind: 1 ms
    }
  }
}

function framesTo(descriptor, frameType, line, ending) {
  return (level, values) => {
    const time = new Date();
    const message = Buffer.from(line(time, level, values) + ending);
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUInt32BE((frameType | ((LEVELS.indexOf(level) + 1) << 2)) >>> 0, 0);
    header.writeUInt32BE(message.length, 4);
    header.writeBigInt64BE(BigInt(time.valueOf()) * 1000n, 8);
    writeAll(descriptor, Buffer.concat([header, message]));
  };
}

// Without a frame around it a message is one line: its newlines become carriage returns.
function linesToStdout(line) {
  return (level, values) => {
    process.stdout.write(line(new Date(), level, values).replaceAll('\n', '\r') + '\n');
  };
}

function install() {
  const json = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
  const line = json ? jsonLine : textLine;
  const descriptor = process.env._LAMBDA_TELEMETRY_LOG_FD;
  delete process.env._LAMBDA_TELEMETRY_LOG_FD;
  const write =
    descriptor === undefined
      ? linesToStdout(line)
      : framesTo(Number.parseInt(descriptor, 10), json ? JSON_FRAME : TEXT_FRAME, line, json ? '' : '\n');
  const threshold = LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase());
  for (const [method, level] of Object.entries(METHODS)) {
    console[method] = LEVELS.indexOf(level) < threshold ? () => {} : (...values) => write(level, values);
  }
  logError = json
    ? (_what, error) => console.error(asError(error))
    : (what, error) => console.error(what, forLogLine(asError(error)));
}

let logError;

module.exports = {
  install,
  logError: (what, error) => logError(what, error),
  setRequest(requestId, tenantId) {
    globalThis[REQUEST_ID] = requestId;
    globalThis[TENANT_ID] = tenantId;
  },
};
