// A server of the original lesson on the official package: three events, no acks, no offsets.
// It ends with its stdin.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);
const tell = (message) => io.emit("updateMessage", { name: "SERVER", message });

io.on("connection", (socket) => {
  socket.on("newUserConnect", (name) => {
    socket.data.name = name;
    tell(`${name}님이 접속했습니다.`);
  });
  socket.on("sendMessage", (data) => {
    io.emit("updateMessage", { ...data, name: socket.data.name });
  });
  socket.on("disconnect", () => tell(`${socket.data.name}님이 퇴장했습니다.`));
});

http.listen(0, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${http.address().port}`;
  console.log(JSON.stringify({ what: "url", shown: url }));
});
process.stdin.on("end", () => process.exit(0)).resume();
