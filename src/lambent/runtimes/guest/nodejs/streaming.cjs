'use strict';
// A response that leaves while the function still runs: a writable stream over a chunked request to the Runtime API.

const { Writable } = require('stream');
const { InvalidStreamingOperation, report } = require('./errors.cjs');

const PRELUDE_TYPE = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_DELIMITER = new Uint8Array(8);

class ResponseStream extends Writable {
  #channel;
  #path;
  #contentType = 'application/octet-stream';
  #request = null;
  #trailers = '';
  _onBeforeFirstWrite = undefined; // set by HttpResponseStream.from

  constructor(channel, requestId, highWaterMark) {
    super({ decodeStrings: true, highWaterMark });
    this.#channel = channel;
    this.#path = `/invocation/${encodeURIComponent(requestId)}/response`;
    this.answered = new Promise((resolve, reject) => {
      this.on('finish', resolve);
      this.on('error', reject);
      this.on('close', () => reject(new Error('The response stream was destroyed before its end.')));
    });
    this.answered.catch(() => {}); // whoever awaits it is told
  }

  setContentType(contentType) {
    if (this.#request) throw new InvalidStreamingOperation('Cannot set content-type, too late.');
    this.#contentType = contentType;
  }

  write(chunk, ...rest) {
    const plain = typeof chunk === 'string' || Buffer.isBuffer(chunk) || chunk?.constructor === Uint8Array;
    return super.write(plain ? chunk : JSON.stringify(chunk), ...rest);
  }

  // Ends the response with an error's document in its trailers.
  fail(error) {
    const document = report(error);
    const encoded = Buffer.from(JSON.stringify(document)).toString('base64');
    const trailers =
      `Lambda-Runtime-Function-Error-Type: ${String(document.errorType).replace(/[\r\n]/g, ' ')}\r\n` +
      `Lambda-Runtime-Function-Error-Body: ${encoded}\r\n`;
    if (this.destroyed) return this.writableFinished ? this.answered : this.#begin().end(trailers);
    if (!this.writableEnded) {
      this.#trailers = trailers;
      this.end();
    }
    return this.answered;
  }

  _write(chunk, _encoding, done) {
    const request = this.#begin();
    if (chunk.length === 0) return done(); // an empty chunk would end the body
    return request.write(chunk, done);
  }

  _final(done) {
    this.#begin().end(this.#trailers).then(() => done(), done);
  }

  #begin() {
    if (this.#request === null) {
      this.#request = this.#channel.postChunked(
        this.#path,
        `Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: ${this.#contentType}\r\n` +
          'Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n',
      );
      this._onBeforeFirstWrite?.((data) => this.#request.write(Buffer.from(data)));
    }
    return this.#request;
  }
}

class HttpResponseStream {
  // The status, headers and cookies of an HTTP response, ahead of its body.
  static from(stream, prelude) {
    stream.setContentType(PRELUDE_TYPE);
    stream._onBeforeFirstWrite = (write) => {
      write(JSON.stringify(prelude));
      write(PRELUDE_DELIMITER);
    };
    return stream;
  }
}

module.exports = { ResponseStream, HttpResponseStream };
