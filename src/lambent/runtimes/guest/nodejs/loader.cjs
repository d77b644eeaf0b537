'use strict';
// Finds the function's handler: "dir/file.export" or "file.a.b", in a CommonJS or an ES module.

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const { pathToFileURL } = require('url');
const {
  CallbackHandlerDeprecated,
  HandlerNotFound,
  ImportModuleError,
  MalformedHandlerName,
  MalformedStreamingHandler,
  UserCodeSyntaxError,
} = require('./errors.cjs');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const FIRST_WITHOUT_CALLBACKS = 24; // https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html

const nodeMajor = Number.parseInt(process.versions.node, 10);
const callbacksRemoved = nodeMajor >= FIRST_WITHOUT_CALLBACKS;

function splitName(name) {
  if (name.includes('..')) {
    throw new MalformedHandlerName(
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(name);
  const dot = base.indexOf('.');
  if (dot < 0) throw new MalformedHandlerName('Bad handler');
  return { directory: name.slice(0, name.indexOf(base)), module: base.slice(0, dot), exports: base.slice(dot + 1).split('.') };
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

// The nearest package.json decides; node_modules is where a package ends.
function isInModulePackage(file) {
  for (let folder = path.dirname(file); !folder.endsWith('/node_modules'); folder = path.dirname(folder)) {
    const manifest = path.join(folder, 'package.json');
    if (fs.existsSync(manifest)) {
      try {
        return JSON.parse(fs.readFileSync(manifest, 'utf8'))?.type === 'module';
      } catch (error) {
        console.warn(`${manifest} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (folder === '/') break;
  }
  return false;
}

function followNodePath(file) {
  require('./modulepaths.cjs').followNodePath(file);
}

async function importModule(file) {
  followNodePath(file);
  return import(pathToFileURL(file).href);
}

async function requireModule(load, file) {
  if (fs.readFileSync(file, 'latin1').includes('import(')) followNodePath(file);
  try {
    return load(file);
  } catch (error) {
    if (error.code === 'ERR_REQUIRE_ASYNC_MODULE' || error.code === 'ERR_REQUIRE_ESM') return importModule(file);
    throw error;
  }
}

async function loadModule(root, { directory, module }) {
  // The name that the stack of a failed require shows is the one that AWS's client has.
  const load = createRequire(path.join(process.env.LAMBDA_RUNTIME_DIR || '/var/runtime', 'index.mjs'));
  const base = path.resolve(root, directory, module);
  if (isFile(base)) return requireModule(load, base);
  const script = base + '.js';
  if (isFile(script)) return isInModulePackage(script) ? importModule(script) : requireModule(load, script);
  if (isFile(base + '.mjs')) return importModule(base + '.mjs');
  if (isFile(base + '.cjs')) return requireModule(load, base + '.cjs');
  return load(load.resolve(module, { paths: [root, directory] }));
}

function offerStreaming() {
  if (['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    get HttpResponseStream() {
      return require('./streaming.cjs').HttpResponseStream;
    },
  };
}

function traits(handler) {
  const streaming = handler[STREAMING];
  if (streaming && streaming !== 'response') throw new MalformedStreamingHandler('Only response streaming is supported.');
  return {
    isStreaming: Boolean(streaming),
    highWaterMark: Number.isNaN(Number(handler[HIGH_WATER_MARK])) ? undefined : Number(handler[HIGH_WATER_MARK]),
    isAsync: handler.constructor?.name === 'AsyncFunction',
  };
}

function checkCallback(handler, { isStreaming, isAsync }) {
  if (callbacksRemoved && !isStreaming && handler.length > 2) {
    throw new CallbackHandlerDeprecated(
      'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.',
    );
  }
  const muted = process.env.AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING !== undefined;
  if (!muted && !isStreaming && !isAsync && handler.length === 3) {
    console.warn(
      'AWS Lambda plans to remove support for callback-based function handlers starting with Node.js 24. You will need to update this function to use an async handler to use Node.js 24 or later. For more information and to provide feedback on this change, see https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/issues/137. To disable this warning, set the AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING environment variable.',
    );
  }
}

// Resolves to {handler, isStreaming, highWaterMark, isAsync}. Throws what the function's own code throws, too.
async function load(root, name) {
  const parts = splitName(name);
  offerStreaming();
  let module;
  try {
    module = await loadModule(root, parts);
  } catch (error) {
    if (error instanceof SyntaxError) throw new UserCodeSyntaxError(error);
    if (error?.code === 'MODULE_NOT_FOUND') throw new ImportModuleError(error);
    throw error;
  }
  const handler = parts.exports.reduce((found, key) => found && found[key], module);
  if (!handler) throw new HandlerNotFound(`${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new HandlerNotFound(`${name} is not a function`);
  const about = traits(handler);
  checkCallback(handler, about);
  return { handler, ...about };
}

module.exports = { load, callbacksRemoved };
