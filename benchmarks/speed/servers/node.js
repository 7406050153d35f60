// node:http, or node:https.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { Readable, pipeline } = require('node:stream');

const [port, certificate, file] = process.argv.slice(2);
const TEXT = { 'Content-Type': 'text/plain', 'Content-Length': 5 };
const FIELDS = {};
for (let number = 0; number < 20; number++) {
  const digits = String(number).padStart(2, '0');
  FIELDS[`x-field-${digits}`] = `the value of field number ${digits}`;
}
const MIB = 1024 * 1024;
const PIECE = 64 * 1024;
const content = file ? fs.readFileSync(file) : Buffer.alloc(0);
const followers = new Set();
let number = 0;

function hello(response) {
  response.writeHead(200, TEXT);
  response.end('hello');
}

function tellLength(request, response) {
  let length = 0;
  request.on('data', (data) => { length += data.length; });
  request.on('end', () => {
    const text = String(length);
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': text.length });
    response.end(text);
  });
}

function* pieces() {
  for (let repeated = 0; repeated < content.length / MIB; repeated++) {
    for (let start = 0; start < MIB; start += PIECE) yield content.subarray(start, start + PIECE);
  }
}

function event() {
  return `data: ${String(number).padStart(10, '0')}\n\n`;
}

function answerEvents(request, response) {
  if (request.method === 'GET') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(event());
    followers.add(response);
    response.on('close', () => followers.delete(response));
    return;
  }
  if (request.method === 'POST') {
    number++;
    const data = event();
    for (const follower of followers) follower.write(data);
  } else {
    for (const follower of followers) follower.end();
  }
  hello(response);
}

function answer(request, response) {
  switch (request.url) {
    case '/':
      if (request.method === 'POST') tellLength(request, response);
      else hello(response);
      break;
    case '/fields':
      response.writeHead(200, { ...TEXT, ...FIELDS });
      response.end('hello');
      break;
    case '/upload':
      tellLength(request, response);
      break;
    case '/download':
      response.writeHead(200, { 'Content-Length': content.length });
      response.end(content);
      break;
    case '/stream':
      pipeline(Readable.from(pieces()), response, () => {});
      break;
    case '/file':
      response.writeHead(200, { 'Content-Length': content.length });
      pipeline(fs.createReadStream(file, { highWaterMark: PIECE }), response, () => {});
      break;
    case '/events':
      answerEvents(request, response);
      break;
    default:
      response.writeHead(404).end();
  }
}

function switchTo(socket, fields) {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n${fields}\r\n`);
  socket.pipe(socket);
}

function upgrade(request, socket, head) {
  socket.on('error', () => {});
  socket.setNoDelay();
  if (!request.headers['content-length']) {
    if (head.length > 0) socket.unshift(head);
    switchTo(socket, '');
    return;
  }
  let length = head.length; // before Node 26 it is the body
  request.on('data', (data) => { length += data.length; });
  request.on('end', () => switchTo(socket, `Body-Length: ${length}\r\n`));
}

const pem = certificate && fs.readFileSync(certificate);
const server = pem ? https.createServer({ key: pem, cert: pem }, answer) : http.createServer(answer);
server.on('upgrade', upgrade);
process.stdin.on('end', () => process.exit(1)).resume();
server.listen(Number(port), '127.0.0.1');
