// A small server of Node's own http module: echoes bodies and trailers, sends Early Hints.
const http = require("node:http");

http
  .createServer((request, response) => {
    if (request.url === "/echo") {
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => {
        response.writeHead(200, { Trailer: "X-Sum" });
        for (const chunk of chunks) response.write(chunk);
        if (request.trailers["x-sum"]) {
          response.addTrailers({ "X-Sum": request.trailers["x-sum"] });
        }
        response.end();
      });
      return;
    }
    if (request.url.startsWith("/hints")) {
      response.writeEarlyHints({ link: "</style.css>; rel=preload" });
    }
    response.end(`${request.method} ${request.url}`);
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
