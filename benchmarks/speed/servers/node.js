// node:http, with the bytes echoed after an upgrade.
'use strict';

const http = require('node:http');

const server = http.createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 5 });
  response.end('hello');
});
server.on('upgrade', (request, socket, head) => {
  socket.on('error', () => {});
  socket.setNoDelay();
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  if (head.length > 0) socket.write(head);
  socket.pipe(socket);
});
process.stdin.on('end', () => process.exit(1)).resume();
server.listen(Number(process.argv[2]), '127.0.0.1');
