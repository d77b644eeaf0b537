'use strict';
// Lets ES modules find packages in the directories of NODE_PATH, as require() does: layers in /opt/nodejs, the SDK in
// /var/runtime. Node itself ignores NODE_PATH for them; Lambda's Node.js does not.

const fs = require('fs');
const path = require('path');
const nodeModule = require('module');
const { fileURLToPath, pathToFileURL } = require('url');

const SCANNED_FILES_MAX = 500;
const SPECIFIERS = /(?:\bfrom|\bimport)\s*\(?\s*(['"])([^'"\n]+)\1/g;
const COMPUTED = /\bimport\s*\(\s*[^'")\s]/;

let following = false;

// Each directory as the URL of a module that would find it by walking up: /opt/nodejs/x for /opt/nodejs/node_modules.
function parents() {
  const directories = (process.env.NODE_PATH ?? '').split(':');
  return directories
    .filter((directory) => path.basename(directory) === 'node_modules' && fs.existsSync(directory))
    .map((directory) => pathToFileURL(path.join(path.dirname(directory), 'noop.mjs')).href);
}

const isBare = (specifier) => !/^(?:\.{0,2}\/|[a-z][a-z0-9+.-]*:|#)/i.test(specifier);

// Called before the first ES module is imported.
function followNodePath(file) {
  if (following) return;
  const others = parents();
  if (others.length === 0) return;
  if (typeof nodeModule.registerHooks === 'function') {
    following = true;
    nodeModule.registerHooks({ resolve: (specifier, context, next) => resolveSync(others, specifier, context, next) });
  } else if (typeof nodeModule.register === 'function' && needsOthers(file, new Set())) {
    // Older Nodes run hooks in a thread of their own, 40 ms and 10 MB: only for modules that need them.
    following = true;
    const source = `let others;\nexport const initialize = (given) => { others = given; };\n${isBareSource}\n${resolveAsync}`;
    nodeModule.register(`data:text/javascript,${encodeURIComponent(source)}`, { data: others });
  }
}

function resolveSync(others, specifier, context, next) {
  try {
    return next(specifier, context);
  } catch (error) {
    if (error?.code === 'ERR_MODULE_NOT_FOUND' && isBare(specifier)) {
      for (const parentURL of others) {
        try {
          return next(specifier, { ...context, parentURL });
        } catch {
          // not there either
        }
      }
    }
    throw error;
  }
}

const isBareSource = `const isBare = ${isBare};`;
const resolveAsync = `export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error?.code === 'ERR_MODULE_NOT_FOUND' && isBare(specifier)) {
      for (const parentURL of others) {
        try {
          return await next(specifier, { ...context, parentURL });
        } catch {}
      }
    }
    throw error;
  }
}`;

// Whether this module, or one that it imports by a relative path, names a package that lies in none of its own folders.
function needsOthers(file, seen) {
  if (seen.has(file) || seen.size >= SCANNED_FILES_MAX) return false;
  seen.add(file);
  let source;
  try {
    source = fs.readFileSync(file, 'utf8');
  } catch {
    return false;
  }
  if (COMPUTED.test(source)) return true;
  for (const [, , specifier] of source.matchAll(SPECIFIERS)) {
    if (!isBare(specifier)) {
      if (specifier.startsWith('.') && needsOthers(fileURLToPath(new URL(specifier, pathToFileURL(file))), seen)) return true;
    } else if (!nodeModule.isBuiltin(specifier) && !isInOwnFolders(file, specifier)) {
      return true;
    }
  }
  return false;
}

function isInOwnFolders(file, specifier) {
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    if (fs.existsSync(path.join(folder, 'node_modules', name))) return true;
    if (folder === '/') return false;
  }
}

module.exports = { followNodePath };
