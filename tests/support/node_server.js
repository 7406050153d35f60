// What tests/upgrade/test_against_node.py asks Node: servers whose handlers do what those of `node_handlers.py` do.
// It prints the port of each as JSON, and ends when its standard input does.
'use strict';

const http = require('node:http');

const switching = (protocol) => `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;

function onRequest(req, res) {
  res.on('error', () => {});
  switch (req.url) {
    case '/read':
      return readBody(req, (body) => res.end(body));
    case '/begun':
      return readByte(req, (byte) => res.end(byte));
    case '/slow':
      return setTimeout(() => res.end('slow'), 1000);
    case '/close':
      return res.writeHead(200, { Connection: 'close' }).end('close');
    case '/stream':
      res.write('one ');
      return res.end('two');
    default:
      return res.end(req.url.startsWith('http') ? `${req.url} for ${req.headers.host}` : req.url);
  }
}

function onUpgrade(req, stream, head) {
  stream.on('error', () => {});
  const offered = (req.headers.upgrade ?? '').split(',')[0].trim();
  const accept = () => stream.write(switching(offered));
  switch (req.url) {
    case '/body': // the body, the 101, the stream
      return readBody(req, (body) => {
        accept();
        stream.write(`[${body}]`);
        echo(stream, head);
      }, stream);
    case '/accept-body': // the 101, the body, the stream
      accept();
      return readBody(req, (body) => {
        stream.write(`[${body}]`);
        echo(stream, head);
      }, stream);
    case '/begun': // a byte of the body, the 101, the stream
      return readByte(req, (byte) => {
        accept();
        stream.write(`[${byte}]`);
        echo(stream, head);
      });
    case '/listen': // the first of the stream, the 101, the stream
      return echo(stream, head, accept);
    case '/bye':
      accept();
      stream.end('bye');
      return stream.resume();
    case '/deaf': // reads neither body nor stream
      return accept();
    case '/other':
      stream.write(switching('other'));
      return echo(stream, head);
    case '/both': // body and stream at once
      accept();
      readBody(req, (body) => stream.write(`[${body}]`), stream);
      return echo(stream, head);
    case '/decline':
      return stream.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    default:
      accept();
      return echo(stream, head);
  }
}

function onConnect(req, stream, head) {
  stream.on('error', () => {});
  if (req.url.startsWith('declined')) {
    return stream.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  }
  stream.write('HTTP/1.1 200 OK\r\n\r\n');
  echo(stream, head);
}

// What a broken body or stream looks like to its handler is said on the stream, if there is one.

function readBody(req, done, stream) {
  let body = '';
  req.on('data', (data) => { body += data.toString('latin1'); });
  req.on('end', () => done(body));
  req.on('error', () => stream?.end('<broken>'));
}

function readByte(req, done) {
  req.once('readable', () => done((req.read(1) ?? '').toString('latin1')));
  req.on('error', () => {});
}

function echo(stream, head, before = () => {}) {
  const take = (data) => {
    before();
    before = () => {};
    stream.write(data);
  };
  if (head.length) take(head);
  stream.on('data', take);
  stream.on('end', () => {
    before();
    stream.end('<end>');
  });
}

function server(options, listeners) {
  const it = http.createServer({ keepAliveTimeout: 0, ...options }, onRequest);
  for (const [event, listener] of Object.entries(listeners)) it.on(event, listener);
  return it;
}

const servers = {
  upgrading: server({}, { upgrade: onUpgrade, connect: onConnect }),
  choosing: server({ shouldUpgradeCallback: (req) => req.url.startsWith('/echo') }, { upgrade: onUpgrade }),
  ordinary: server({}, {}),
  orphaned: server({ shouldUpgradeCallback: () => true }, {}),
};

const ports = {};
for (const [name, it] of Object.entries(servers)) {
  it.listen(0, '127.0.0.1', () => {
    ports[name] = it.address().port;
    if (Object.keys(ports).length === Object.keys(servers).length) console.log(JSON.stringify(ports));
  });
}
process.stdin.on('end', () => process.exit()).resume();
