"""One user on one device: a nio client, its sync loop, and helpers to wait for what the loop brings."""

import asyncio

from nio import AsyncClient, AsyncClientConfig, ReceiptEvent, RoomGetStateEventError, SyncResponse, TypingNoticeEvent

from report import PATIENCE, Failed, emit, ok


class User:
    """A logged-in client whose `sync_forever` runs as a task. Keeps every timeline event by id."""

    def __init__(self, url, user=""):
        config = AsyncClientConfig(encryption_enabled=False, max_timeouts=None, backoff_factor=0.05)
        self.nio = AsyncClient(url, user, config=config)
        self.events = {}
        self.order = []
        self.typing = {}
        self.receipts = {}
        self.account_data = {}
        self.membership = {}
        self._synced = asyncio.Condition()
        self._task = None

    @property
    def id(self):
        return self.nio.user_id

    @property
    def token(self):
        return self.nio.access_token

    def start(self):
        """Starts the sync loop."""
        self.nio.add_response_callback(self._on_sync, SyncResponse)
        self.nio.add_ephemeral_callback(self._on_typing, TypingNoticeEvent)
        self.nio.add_ephemeral_callback(self._on_receipt, ReceiptEvent)
        self._task = asyncio.create_task(self._run())

    async def _run(self):
        try:
            # Wide enough that a loop which lags is told of no gap: what is missing then is lost.
            wide = {"room": {"timeline": {"limit": 100}}}
            await self.nio.sync_forever(timeout=20000, full_state=True, sync_filter=wide)
        except Exception as error:  # noqa: BLE001 - told at once, the waiting checks then fail by their patience
            emit({"note": f"sync loop of {self.id} ended: {error!r}"})
            raise

    async def stop(self):
        """Stops the sync loop and closes the connection."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.nio.close()

    async def _on_sync(self, answer):
        for section in ("invite", "join", "leave"):
            for room_id in getattr(answer.rooms, section):
                self.membership[room_id] = section
        for room_id, room in answer.rooms.join.items():
            for event in room.timeline.events:
                self.order.append((room_id, event.event_id))
                self.events[event.event_id] = event
            for data in room.account_data:
                self.account_data[(room_id, type(data).__name__)] = data
        async with self._synced:
            self._synced.notify_all()

    async def _on_typing(self, room, event):
        self.typing[room.room_id] = event.users

    async def _on_receipt(self, room, event):
        for receipt in event.receipts:
            self.receipts[(room.room_id, receipt.user_id, receipt.receipt_type)] = receipt.event_id

    async def until(self, condition, what, patience=PATIENCE):
        """Waits until `condition()` gives something true, looking again after every answered sync."""

        async def look():
            async with self._synced:
                while True:
                    value = condition()
                    if value:
                        return value
                    await self._synced.wait()

        try:
            return await asyncio.wait_for(look(), patience)
        except asyncio.TimeoutError:
            raise Failed(f"{what}: not seen by {self.id} within {patience} s") from None

    async def sees(self, event_id):
        """Waits for this event in a timeline and gives nio's event."""
        return await self.until(lambda: self.events.get(event_id), f"event {event_id}")

    async def joined(self, room_id):
        """Waits until the sync loop has the room among the joined ones."""
        await self.until(lambda: self.membership.get(room_id) == "join", f"joined room {room_id}")

    async def gone(self, room_id):
        """Waits until the sync loop has the room among the left ones (nio itself keeps it among its rooms)."""
        await self.until(lambda: self.membership.get(room_id) == "leave", f"leaving room {room_id}")

    async def text(self, room_id, body, txn=None, **extra):
        """Sends a text and gives its event id."""
        content = {"msgtype": "m.text", "body": body, **extra}
        return (await ok(self.nio.room_send(room_id, "m.room.message", content, tx_id=txn))).event_id

    async def state(self, room_id, kind, key=""):
        """The content of one state event."""
        answer = await self.nio.room_get_state_event(room_id, kind, key)
        if isinstance(answer, RoomGetStateEventError):
            raise Failed(f"state {kind}: {answer}")
        return answer.content

    async def raw(self, method, path, body=None):
        """A request that nio has no call for: gives status and parsed body."""
        async with self.nio.client_session.request(
            method,
            self.nio.homeserver + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
        ) as answer:
            return answer.status, await answer.json()
