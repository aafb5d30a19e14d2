import asyncio
from decimal import Decimal

from streamapp.kafka.producer import UsageProducer
from streamapp.settings import load


async def main() -> None:
    async with UsageProducer(load().kafka, source="llm-gateway") as usage:
        receipt = await usage.send(
            team_id="team_abc123",
            org_id="org_hanzo",
            data={
                "provider": "together",
                "model": "zen-72b",
                "prompt_tokens": 150,
                "completion_tokens": 230,
                "total_tokens": 380,
                "cost_usd": Decimal("0.0038"),
            },
        )
        print(receipt)


asyncio.run(main())
